import { plainAddress } from '../principal.ts';
import { AddressSet } from './address-set.ts';
import type { Ban } from './ban.ts';

/** Whom a ban may fit. */
export interface BanSubject {
  readonly userName: string | undefined;
  readonly clientId: string;
  readonly address: string;
}

/** Bans, ready to be looked up. Does not change: make a new one. */
export class BanTable {
  readonly size: number;
  readonly #users = new Map<string, Ban>();
  readonly #clientIds = new Map<string, Ban>();
  readonly #addresses = new Map<string, Ban>();
  readonly #ranges: { readonly set: AddressSet; readonly ban: Ban }[] = [];
  readonly #allRanges: AddressSet;

  constructor(bans: readonly Ban[]) {
    this.size = bans.length;
    for (const ban of bans) this.#add(ban);
    this.#allRanges = new AddressSet(this.#ranges.map(({ ban }) => plainAddress(ban.value)));
  }

  /** The ban that fits, if one is in force. */
  find({ userName, clientId, address }: BanSubject, nowMs: number): Ban | undefined {
    if (this.size === 0) return undefined;
    const plain = plainAddress(address);
    const found = [
      this.#addresses.get(plain),
      this.#clientIds.get(clientId),
      userName === undefined ? undefined : this.#users.get(userName),
    ];
    return found.find((ban) => isInForce(ban, nowMs)) ?? this.#rangeOf(plain, nowMs);
  }

  #rangeOf(address: string, nowMs: number): Ban | undefined {
    if (!this.#allRanges.has(address)) return undefined;
    return this.#ranges.find(({ set, ban }) => isInForce(ban, nowMs) && set.has(address))?.ban;
  }

  #addAddress(value: string, ban: Ban): void {
    // An IPv6 address has many spellings, as a range has.
    const isRange = value.includes('/') || value.includes(':');
    if (isRange) this.#ranges.push({ set: new AddressSet([value]), ban });
    else keepLonger(this.#addresses, value, ban);
  }

  #add(ban: Ban): void {
    switch (ban.kind) {
      case 'user':
        keepLonger(this.#users, ban.value, ban);
        return;
      case 'client-id':
        keepLonger(this.#clientIds, ban.value, ban);
        return;
      default:
        this.#addAddress(plainAddress(ban.value), ban);
    }
  }
}

/** Of two bans of the same, the one that lasts longer counts. */
function keepLonger(bans: Map<string, Ban>, key: string, ban: Ban): void {
  const other = bans.get(key);
  const isLonger = other === undefined || (other.untilMs ?? Infinity) < (ban.untilMs ?? Infinity);
  if (isLonger) bans.set(key, ban);
}

function isInForce(ban: Ban | undefined, nowMs: number): ban is Ban {
  return ban !== undefined && (ban.untilMs === undefined || ban.untilMs > nowMs);
}
