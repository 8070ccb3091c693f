import { BlockList, isIP } from 'node:net';

import { plainAddress } from '../principal.ts';

/** What is wrong with an address or CIDR; undefined: nothing. */
export function addressProblem(text: string): string | undefined {
  const [address = '', bits, ...rest] = text.split('/');
  const family = isIP(address);
  const bitsMax = family === 6 ? 128 : 32;
  const isRange = bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= bitsMax);
  if (family > 0 && isRange && rest.length === 0) return undefined;
  return `${JSON.stringify(text)} is no address or CIDR, for example 10.0.0.0/8 or 2001:db8::1`;
}

/** Addresses and CIDRs. Does not change: make a new one. */
export class AddressSet {
  readonly #list = new BlockList();

  /** Expects texts without a problem. */
  constructor(texts: Iterable<string>) {
    for (const text of texts) {
      const [address = '', bits] = text.split('/');
      const family = familyOf(address);
      if (bits === undefined) this.#list.addAddress(address, family);
      else this.#list.addSubnet(address, Number(bits), family);
    }
  }

  has(address: string): boolean {
    const plain = plainAddress(address);
    return isIP(plain) > 0 && this.#list.check(plain, familyOf(plain));
  }
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4';
}
