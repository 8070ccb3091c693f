import { generateKeyPairSync } from 'node:crypto';

import { silentLogger } from '@robustmq/core';
import { VirtualClock } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';

import { RemoteKeys } from './remote-keys.ts';

function jwksOf(...kids: string[]): string {
  const keys = kids.map((kid) => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    return { ...publicKey.export({ format: 'jwk' }), kid };
  });
  return JSON.stringify({ keys });
}

/** A service that publishes keys, in the test's hands. */
class KeyService {
  text = jwksOf('one');
  status = 200;
  requests = 0;
  /** Does not answer. */
  hangs = false;

  readonly fetch = (_url: string, { signal }: RequestInit): Promise<Response> => {
    this.requests++;
    if (!this.hangs) return Promise.resolve(new Response(this.text, { status: this.status }));
    return new Promise((_, reject) => {
      signal?.addEventListener('abort', () => reject(new Error('aborted')));
    });
  };
}

async function remote(service: KeyService, clock = new VirtualClock()): Promise<RemoteKeys> {
  const { fetch } = service;
  const url = 'https://keys.example/jwks';
  const keys = new RemoteKeys({ url, clock, logger: silentLogger(), fetch, staleMsMax: 3_600_000 });
  await keys.start();
  return keys;
}

const header = (kid: string): { alg: string; kid: string } => ({ alg: 'ES256', kid });

describe('keys that a service publishes', () => {
  it('are fetched at start and each 10 minutes', async () => {
    const clock = new VirtualClock();
    const service = new KeyService();
    using keys = await remote(service, clock);
    expect(await keys.find(header('one'))).toHaveLength(1);
    await clock.advance(600_100);
    expect(service.requests).toBe(2);
  });

  it('one that is not known is asked for, but not again and again', async () => {
    const clock = new VirtualClock();
    const service = new KeyService();
    using keys = await remote(service, clock);
    service.text = jwksOf('two');
    // The last request was just now.
    expect(await keys.find(header('two'))).toHaveLength(0);
    await clock.advance(30_000);
    expect(await keys.find(header('two'))).toHaveLength(1);
    expect(await keys.find(header('one'))).toHaveLength(0);
    expect(service.requests).toBe(2);
  });

  it('many that ask at once ask once', async () => {
    const clock = new VirtualClock();
    const service = new KeyService();
    using keys = await remote(service, clock);
    await clock.advance(30_000);
    await Promise.all(Array.from({ length: 20 }, () => keys.find(header('two'))));
    expect(service.requests).toBe(2);
  });

  it.each(['status', 'no JSON', 'too slow', 'too large'])(
    'stay good while the service is away: %s',
    async (how) => {
      const clock = new VirtualClock();
      const service = new KeyService();
      using keys = await remote(service, clock);
      if (how === 'status') service.status = 500;
      if (how === 'no JSON') service.text = '<html>';
      if (how === 'too slow') service.hangs = true;
      if (how === 'too large') service.text = ' '.repeat(1024 * 1024 + 1);
      await clock.advance(1_300_000);
      expect(keys.failures).toBeGreaterThan(0);
      expect(await keys.find(header('one'))).toHaveLength(1);
      await clock.advance(3_600_000);
      const asking = keys.find(header('one'));
      const refused = expect(asking).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      await clock.advance(6_000);
      await refused;
    },
  );
});
