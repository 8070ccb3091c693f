import { describe, expect, it } from 'vitest';

import { addressKey, IpNetworks, isIpNetwork, plainAddress } from './ip-address.ts';

describe('addresses', () => {
  it.each([
    ['10.1.2.3', '10.1.2.3'],
    ['::ffff:10.1.2.3', '10.1.2.3'],
    ['fe80::1%eth0', 'fe80::1'],
  ])('%s is %s', (address, plain) => expect(plainAddress(address)).toBe(plain));

  it.each([
    ['10.1.2.3', '10.1.2.3'],
    ['::ffff:10.1.2.3', '10.1.2.3'],
    ['2001:db8:0:7::1', '2001:db8:0:7'],
    ['2001:db8:0:7:ffff:ffff:ffff:ffff', '2001:db8:0:7'],
    ['2001:0db8::', '2001:db8:0:0'],
    ['::1', '0:0:0:0'],
    ['64:ff9b::1.2.3.4', '64:ff9b:0:0'],
  ])('%s counts as %s', (address, key) => expect(addressKey(address)).toBe(key));
});

describe('networks', () => {
  it.each(['10.0.0.0/8', '10.0.0.1', '::/0', 'fd00::/8', '::1'])('%s is one', (text) =>
    expect(isIpNetwork(text)).toBe(true),
  );

  it.each(['10.0.0.0/33', '10.0.0/8', 'fd00::/129', 'any', '10.0.0.0/8/8', '10.0.0.0/', ''])(
    '%j is none',
    (text) => expect(isIpNetwork(text)).toBe(false),
  );

  it('have what is in one of them', () => {
    const networks = new IpNetworks(['10.0.0.0/8', '192.168.1.1', 'fd00::/8']);
    for (const inside of ['10.255.0.1', '::ffff:10.0.0.1', '192.168.1.1', 'fd12::1']) {
      expect(networks.has(inside)).toBe(true);
    }
    for (const outside of ['11.0.0.1', '192.168.1.2', 'fe80::1', '', 'x']) {
      expect(networks.has(outside)).toBe(false);
    }
  });
});
