import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { identityOf } from '@robustmq/rpc';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { type Ended, runCommand } from '../command.fixture.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'robustmq-certs-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function certs(...args: string[]): Promise<Ended> {
  return runCommand(['cluster', 'certs', '--out', join(folder, 'certs'), ...args]);
}

function read(...path: string[]): string {
  return readFileSync(join(folder, 'certs', ...path), 'utf8');
}

function certificateOf(name: string): X509Certificate {
  return new X509Certificate(read(name, 'tls.crt'));
}

describe('robustmq cluster certs', () => {
  it('makes an authority once, and certificates with role and hosts', async () => {
    const ended = await certs('placement/p-1=10.0.0.1', 'operator/me', '--days', '30');
    expect(ended).toMatchObject({ code: 0, errors: [] });
    const authority = new X509Certificate(read('ca.crt'));
    expect(authority.ca).toBe(true);

    const placement = certificateOf('p-1');
    expect(placement.ca).toBe(false);
    expect(placement.checkIssued(authority)).toBe(true);
    expect(placement.verify(authority.publicKey)).toBe(true);
    expect(placement.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1');
    const identity = { cluster: 'robustmq', name: 'p-1', roles: ['placement'] };
    expect(identityOf(placement.subjectAltName)).toEqual(identity);
    expect(placement.checkHost('p-1')).toBe('p-1');
    for (const address of ['10.0.0.1', '127.0.0.1', '::1']) {
      expect(placement.checkIP(address)).toBe(address);
    }
    const days = (Date.parse(placement.validTo) - Date.parse(placement.validFrom)) / 86_400_000;
    expect(days).toBeCloseTo(30 + 1 / 24);
    // An operator's cannot be shown by a server.
    expect(certificateOf('me').keyUsage).toEqual(['1.3.6.1.5.5.7.3.2']);

    await certs('journal/j-1');
    expect(read('ca.crt')).toBe(authority.toString());
    expect(read('j-1', 'ca.crt')).toBe(authority.toString());
    expect(certificateOf('j-1').verify(authority.publicKey)).toBe(true);
  });

  it('lets nobody else read the keys', async () => {
    await certs('journal/j-1');
    for (const path of ['ca.key', 'j-1/tls.key']) {
      expect(statSync(join(folder, 'certs', path)).mode & 0o777).toBe(0o600);
    }
  });

  it('overwrites nothing', async () => {
    await certs('journal/j-1');
    const before = read('j-1', 'tls.crt');
    const ended = await certs('broker/b-1', 'broker/j-1');
    expect(ended.code).toBe(1);
    expect(ended.errors.join()).toContain('--renew');
    expect(read('j-1', 'tls.crt')).toBe(before);
    expect(() => read('b-1', 'tls.crt')).toThrow('ENOENT');
  });

  it('renews what is there, with new keys, the same roles and the same hosts', async () => {
    await certs('journal+broker/edge-1=fd00:0:0::7,edge.example.com', 'operator/me');
    const [authority, edge, me] = [read('ca.crt'), certificateOf('edge-1'), certificateOf('me')];
    expect(await certs('--renew', 'edge-1')).toMatchObject({ code: 0, errors: [] });
    const renewed = certificateOf('edge-1');
    expect(renewed.subjectAltName).toBe(edge.subjectAltName);
    expect(renewed.fingerprint256).not.toBe(edge.fingerprint256);
    expect(renewed.publicKey.equals(edge.publicKey)).toBe(false);
    expect(certificateOf('me').fingerprint256).toBe(me.fingerprint256);

    await certs('--renew');
    expect(certificateOf('edge-1').subjectAltName).toBe(edge.subjectAltName);
    expect(certificateOf('me').fingerprint256).not.toBe(me.fingerprint256);
    await certs('--renew', 'journal/edge-1=10.0.0.9');
    expect(identityOf(certificateOf('edge-1').subjectAltName).roles).toEqual(['journal']);
    expect(read('ca.crt')).toBe(authority);
  });

  it.each([
    [[], 'name what to make'],
    [['boss/x'], 'must be ROLE/NAME'],
    [['journal'], 'must be ROLE/NAME'],
    [['journal/'], '1 to 64 of a-z'],
    [['journal/J_1'], '1 to 64 of a-z'],
    [['journal/j=10.0.0.1,a b'], 'neither a host name nor an address'],
    [['journal/j', 'broker/j'], 'nothing was made'],
    [['journal/j', '--days', '0'], '--days 0'],
    [['journal/j', '--cluster', 'A b'], '--cluster A b'],
    [['--renew'], 'no certificates to renew'],
    [['--renew', 'j'], 'no certificate to renew'],
  ])('%j is refused, and nothing is made', async (args, reason) => {
    const { code, errors } = await certs(...args);
    expect(code).toBe(1);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toContain(reason);
    expect(() => read('ca.crt')).toThrow('ENOENT');
  });

  it('says what is wrong with the authority', async () => {
    await certs('journal/j-1');
    const other = await certs('journal/j-2', '--cluster', 'other');
    expect(other.errors.join()).toContain('is of cluster robustmq');
    rmSync(join(folder, 'certs/ca.key'));
    expect((await certs('journal/j-2')).errors.join()).toContain('needs ca.crt and ca.key');
  });
});
