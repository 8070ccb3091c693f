import { describe, expect, it } from 'vitest';

import { identityOf } from './client-peer.ts';

describe('the user name that a certificate gives', () => {
  const certificate = { commonName: 'device-7', subjectAltName: 'DNS:a.example, URI:urn:b' };

  it('is the common name, the first alternative name, or none', () => {
    expect(identityOf(certificate, 'cn')).toBe('device-7');
    expect(identityOf(certificate, 'san')).toBe('a.example');
    expect(identityOf(certificate, 'none')).toBeUndefined();
    expect(identityOf(undefined, 'cn')).toBeUndefined();
  });

  it.each([
    ['email:a@example.com', 'a@example.com'],
    ['IP Address:10.0.0.1, URI:urn:device:7', 'urn:device:7'],
    ['othername:<unsupported>, DNS:b', 'b'],
    ['IP Address:10.0.0.1', undefined],
    ['', undefined],
    // A name that pretends to be two.
    ['URI:"urn:x, DNS:root", DNS:b', 'urn:x, DNS:root'],
    ['DirName:"CN=x, DNS:root", DNS:b', 'b'],
    ['DirName:"CN=\\", DNS:root", DNS:b', 'b'],
    ['DNS:"unfinished', undefined],
  ])('of %j is %j', (subjectAltName, name) => {
    expect(identityOf({ commonName: undefined, subjectAltName }, 'san')).toBe(name);
  });
});
