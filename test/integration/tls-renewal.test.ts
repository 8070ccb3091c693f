import { cpSync, writeFileSync } from 'node:fs';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { RoleProcess } from '../harness/process.ts';
import { robustmq } from './command.ts';
import { connectMqtt, Inbox } from './mqtt-client.ts';
import { roles, TlsCluster } from './tls-cluster.ts';

/** As long as a test may take. */
const patiently = { timeout: 50_000 };

let tiers: TlsCluster;
beforeAll(async () => {
  tiers = await TlsCluster.start();
});
afterAll(() => tiers[Symbol.asyncDispose]());

/** QoS 1 messages, one after the other, from one broker to the other. */
async function load(until: AbortSignal): Promise<{ acknowledged: string[]; inbox: Inbox }> {
  const subscriber = await connectMqtt(tiers.cluster.mqtt('broker-2'));
  const publisher = await connectMqtt(tiers.cluster.mqtt('broker-1'));
  const inbox = new Inbox(subscriber);
  await subscriber.subscribeAsync('renewal/#', { qos: 1 });
  const acknowledged: string[] = [];
  while (!until.aborted) {
    const text = `message ${acknowledged.length}`;
    await publisher.publishAsync('renewal/a', text, { qos: 1 });
    acknowledged.push(text);
  }
  await inbox.waitFor(acknowledged.length);
  await Promise.all([subscriber.endAsync(), publisher.endAsync()]);
  return { acknowledged, inbox };
}

describe('renewal', () => {
  it('under load takes up new certificates, keeps the old when the new are broken, loses nothing', async () => {
    const finish = new AbortController();
    const loaded = load(finish.signal);
    const before = await Promise.all(roles.map((name) => tiers.shownBy(name)));
    const renewed = await robustmq('cluster', 'certs', '--out', tiers.folder, '--renew');
    expect(renewed).toMatchObject({ code: 0, stderr: '' });
    for (const [index, name] of roles.entries()) {
      const shown = (): Promise<string> => tiers.shownBy(name);
      await expect.poll(shown, patiently).not.toBe(before[index]);
    }

    const journal = tiers.cluster.role('journal-1');
    const [key, good] = [tiers.path('journal-1/tls.key'), tiers.path('good.key')];
    cpSync(key, good);
    const inUse = await tiers.shownBy('journal-1');
    writeFileSync(key, 'broken');
    journal.signal('SIGHUP');
    const failed = (): Promise<number> =>
      tiers.metric('journal-1', 'robustmq_tls_renewals_failed_total');
    await expect.poll(failed, patiently).toBeGreaterThan(0);
    expect(journal.log.join('\n')).toMatch(/tls\.key has no private key.*old ones stay in use/);
    expect(await tiers.shownBy('journal-1')).toBe(inUse);
    cpSync(good, key);

    // Every connection anew, with the new certificates.
    for (const name of ['journal-2', 'placement']) {
      await tiers.cluster.role(name).stop();
      await tiers.cluster.restart(name);
    }
    finish.abort();
    const { acknowledged, inbox } = await loaded;
    expect(acknowledged.length).toBeGreaterThan(0);
    expect(inbox.payloads).toEqual(acknowledged);
  });

  it('is called for from 30 days before the end', async () => {
    const short = tiers.path('short');
    await robustmq('cluster', 'certs', '--out', short, 'placement/p', '--days', '7');
    const data = ['--data-dir', tiers.path('short-data'), '--cluster-tls-dir', `${short}/p`];
    const free = ['--listen', '127.0.0.1:0', '--http-listen', '127.0.0.1:0'];
    const role = await RoleProcess.start('short', ['placement', ...data, ...free]);
    try {
      const log = (): string => role.log.join('\n');
      await expect.poll(log, patiently).toMatch(/short\/p\/tls\.crt.*expires soon: renew it/);
      const page = await fetch(`http://${role.address('http')}/metrics`);
      const family = /^robustmq_tls_certificate_expiry_timestamp_seconds.*"own".* (\d+)$/m;
      const untilSeconds = Number(family.exec(await page.text())?.[1]);
      expect(Math.round((untilSeconds - Date.now() / 1000) / 86_400)).toBe(7);
    } finally {
      await role.kill();
    }
  });
});
