import { type Random, randomInteger } from '@robustmq/core';

/** How a share group chooses a member for a record, among those that have room. */
export type ShareStrategy = (typeof shareStrategies)[number];

export const shareStrategies = [
  /** Each in turn. */
  'round-robin',
  'random',
  /** The same one until it has no room or goes. */
  'sticky',
  /** Members of the coordinator's own broker, in turn; others when those have no room. */
  'local-first',
  /** Records of one publisher to one member, while the members stay the same and it has room. */
  'hash-client',
  /** Records of one topic name to one member, while the members stay the same and it has room. */
  'hash-topic',
] as const;

/** A member as the choice sees it. */
export interface Candidate {
  readonly key: string;
  /** Connected to the broker that runs the coordinator. */
  readonly isLocal: boolean;
  readonly hasRoom: boolean;
}

/** Members that may have room, in turn. One that is found without is taken out until it is told of again. */
class Ring<Member extends Candidate> {
  readonly #members: Member[] = [];
  readonly #set = new Set<Member>();
  #at = 0;

  get size(): number {
    return this.#members.length;
  }

  add(member: Member): void {
    if (this.#set.has(member)) return;
    this.#set.add(member);
    // Before the next one: everybody else comes first.
    this.#members.splice(this.#at, 0, member);
    this.#at++;
  }

  remove(member: Member): void {
    if (!this.#set.delete(member)) return;
    const index = this.#members.indexOf(member);
    this.#members.splice(index, 1);
    if (index < this.#at) this.#at--;
  }

  /** The next one in turn that has room and is not `avoided`. */
  next(avoided: Member | undefined): Member | undefined {
    let left = this.#members.length;
    while (left > 0 && this.#members.length > 0) {
      if (this.#at >= this.#members.length) this.#at = 0;
      const member = this.#members[this.#at];
      if (member === undefined) return undefined;
      left--;
      if (!member.hasRoom) {
        this.remove(member);
      } else {
        this.#at++;
        if (member !== avoided) return member;
      }
    }
    return undefined;
  }

  /** Goes on from a random place. */
  turn(random: Random): void {
    if (this.#members.length > 1) this.#at = randomInteger(random, this.#members.length);
  }
}

/** The connected members of a group, and whose turn it is. */
export class MemberChoice<Member extends Candidate> {
  readonly #strategy: ShareStrategy;
  readonly #random: Random;
  readonly #local = new Ring<Member>();
  readonly #others = new Ring<Member>();
  /** By key: what hashes point into. */
  readonly #sorted: Member[] = [];
  #current: Member | undefined;

  constructor(strategy: ShareStrategy, random: Random) {
    this.#strategy = strategy;
    this.#random = random;
  }

  get size(): number {
    return this.#sorted.length;
  }

  add(member: Member): void {
    const at = this.#sorted.findIndex((other) => other.key > member.key);
    this.#sorted.splice(at < 0 ? this.#sorted.length : at, 0, member);
    this.roomMade(member);
  }

  remove(member: Member): void {
    const at = this.#sorted.indexOf(member);
    if (at >= 0) this.#sorted.splice(at, 1);
    this.#ringOf(member).remove(member);
    if (this.#current === member) this.#current = undefined;
  }

  /** The member has room again. */
  roomMade(member: Member): void {
    if (member.hasRoom) this.#ringOf(member).add(member);
  }

  /** A member with room that is not `avoided`; undefined when there is none. */
  choose(hash: number, avoided: Member | undefined): Member | undefined {
    switch (this.#strategy) {
      case 'random':
        this.#others.turn(this.#random);
        return this.#others.next(avoided);
      case 'sticky':
        return this.#stickTo(avoided);
      case 'hash-client':
      case 'hash-topic':
        return this.#byHash(hash, avoided);
      case 'round-robin':
        return this.#others.next(avoided);
      case 'local-first':
        return this.#local.next(avoided) ?? this.#others.next(avoided);
      default:
    }
    return undefined;
  }

  #ringOf(member: Member): Ring<Member> {
    return this.#strategy === 'local-first' && member.isLocal ? this.#local : this.#others;
  }

  #stickTo(avoided: Member | undefined): Member | undefined {
    const current = this.#current;
    if (current?.hasRoom === true && current !== avoided) return current;
    const next = this.#others.next(avoided);
    // Who is chosen for a moment because of what is avoided does not become the current one.
    if (next !== undefined && current?.hasRoom !== true) this.#current = next;
    return next;
  }

  /** The one that the hash points to, or the next one that has room: a slow member holds up nobody. */
  #byHash(hash: number, avoided: Member | undefined): Member | undefined {
    if (this.#others.size === 0) return undefined;
    const count = this.#sorted.length;
    for (let i = 0; i < count; i++) {
      const member = this.#sorted[(hash + i) % count];
      if (member?.hasRoom === true && member !== avoided) return member;
    }
    return undefined;
  }
}
