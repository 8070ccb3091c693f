import { BlockList, isIP, SocketAddress } from 'node:net';

/** 4, 6, or 0 for what is no IP address. */
export function ipVersion(address: string): 0 | 4 | 6 {
  return isIP(address) as 0 | 4 | 6;
}

/** An IPv4 address that is written as IPv6 as what it is; others as they are, without a zone. */
export function plainAddress(address: string): string {
  const plain = address.replace(/%.*$/, '');
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(plain)?.[1];
  return mapped ?? plain;
}

/** As the system writes it, whatever zeros it was given with. Only for what is an IP address. */
export function canonicalAddress(address: string): string {
  const family = ipVersion(address) === 6 ? 'ipv6' : 'ipv4';
  return plainAddress(new SocketAddress({ address, family }).address);
}

/**
 * What an address counts as where one client's connections are counted: an IPv6 client has a network of
 * 64 bits to itself and may come from any of its addresses.
 */
export function addressKey(address: string): string {
  const plain = plainAddress(address);
  if (!plain.includes(':')) return plain;
  return ipv6Groups(plain).slice(0, 4).join(':');
}

/** The eight groups, without leading zeros. */
function ipv6Groups(address: string): string[] {
  const [left = '', right] = address.split('::');
  const head = groupsIn(left);
  const tail = groupsIn(right ?? '');
  const zeros = Array.from({ length: Math.max(0, 8 - head.length - tail.length) }, () => '0');
  return [...head, ...zeros, ...tail];
}

/** An IPv4 address at the end stands for two groups. */
function groupsIn(text: string): string[] {
  if (text === '') return [];
  return text
    .split(':')
    .flatMap((group) =>
      group.includes('.') ? ['0', '0'] : [Number.parseInt(group, 16).toString(16)],
    );
}

/** IP networks by their text: `10.0.0.0/8`, `fd00::/8`, or one address. */
export class IpNetworks {
  readonly #list = new BlockList();

  /** `networks` were found good by {@link isIpNetwork}. */
  constructor(networks: readonly string[]) {
    for (const network of networks) {
      const [address = '', prefix] = network.split('/');
      const family = ipVersion(address) === 6 ? 'ipv6' : 'ipv4';
      this.#list.addSubnet(
        address,
        prefix === undefined ? bitsOf(address) : Number(prefix),
        family,
      );
    }
  }

  has(address: string): boolean {
    const plain = plainAddress(address);
    const version = ipVersion(plain);
    return version !== 0 && this.#list.check(plain, version === 6 ? 'ipv6' : 'ipv4');
  }
}

export function isIpNetwork(text: string): boolean {
  const [address = '', prefix, ...more] = text.split('/');
  if (ipVersion(address) === 0 || more.length > 0) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bitsOf(address));
}

function bitsOf(address: string): number {
  return ipVersion(address) === 6 ? 128 : 32;
}
