import {
  type Clock,
  type Logger,
  type Offset,
  OperatingError,
  type Random,
  type ShardId,
} from '@robustmq/core';
import type { FanOut } from '../fan-out/fan-out.ts';
import { MemberChoice } from './member-choice.ts';
import type { ShareBroker } from './share-broker.ts';
import type { ShareBudget } from './share-budget.ts';
import type { ShareEvent, SharePin, ShareProgress, ShareStart } from './share-event.ts';
import { ShareMember } from './share-member.ts';
import type { ShareAnswer, ShareJoin } from './share-message.ts';
import { SharePartitions } from './share-partitions.ts';
import type { ShareProtocol, ShareSource } from './share-protocol.ts';
import { Delivery, type ShareRecord } from './share-record.ts';
import type { ShareEntry } from './share-entry.ts';
import type { ShareWindow, ShareWindowImage } from './share-window.ts';

/** What happens to a group, as its log has it. */
export type GroupEvent = ShareEvent extends infer Event
  ? Event extends ShareEvent
    ? Omit<Event, 'groupId'>
    : never
  : never;

export interface ShareGroupOptions {
  readonly groupId: string;
  readonly protocol: ShareProtocol;
  readonly source: ShareSource;
  readonly fanOut: Pick<FanOut, 'attach'>;
  readonly endOffset: (shardId: ShardId) => Promise<Offset>;
  readonly budget: ShareBudget;
  readonly recordsMax: number;
  readonly counts: ShareGroupCounts;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Logs it, before whoever asked for it is answered. */
  readonly propose: (event: GroupEvent) => void;
  /** Something may be handed out: {@link ShareGroup.handOut} is to be called in this turn. */
  readonly ready: () => void;
  /** Unique in this ownership. */
  readonly nextNumber: () => number;
}

/** What is counted, for all groups that a broker runs. */
export interface ShareGroupCounts {
  /** Records that were given to a member. */
  handedOut: number;
  /** Records that expired before. */
  expired: number;
  /** Records that a member did not answer for in time. */
  timedOut: number;
  /** Records that retention took before they were read. */
  trimmed: number;
}

export function newShareGroupCounts(): ShareGroupCounts {
  return { handedOut: 0, expired: 0, timedOut: 0, trimmed: 0 };
}

/** A share group that is served: its windows, its members, and who gets what. */
export class ShareGroup {
  readonly groupId: string;
  readonly #options: ShareGroupOptions;
  readonly #members = new Map<string, ShareMember>();
  readonly #choice: MemberChoice<ShareMember>;
  /** Connected members, by what they acquire as. */
  readonly #acquirers = new Map<string, ShareMember>();
  readonly #partitions: SharePartitions;
  #pins = new Map<number, SharePin[]>();
  /** Nobody has had anything of it: it begins where its first member said. */
  #isNew: boolean;

  constructor(
    options: ShareGroupOptions,
    stored: { readonly isNew: boolean; readonly windows: ReadonlyMap<number, ShareWindowImage> },
  ) {
    this.groupId = options.groupId;
    this.#options = options;
    this.#choice = new MemberChoice(options.protocol.strategy, options.random);
    this.#isNew = stored.isNew;
    const { source, fanOut, endOffset, budget, recordsMax, logger, protocol, counts, ready } =
      options;
    const { attemptsMax } = protocol;
    this.#partitions = new SharePartitions(
      {
        source,
        fanOut,
        endOffset,
        budget,
        recordsMax,
        attemptsMax,
        logger,
        arrived: ready,
        trimmed: (count) => (counts.trimmed += count),
      },
      stored.windows,
    );
  }

  get isEmpty(): boolean {
    return this.#members.size === 0;
  }

  get members(): number {
    return this.#members.size;
  }

  member(key: string): ShareMember | undefined {
    return this.#members.get(key);
  }

  /** Lowest offset that it still needs, of each partition. */
  starts(): Iterable<{ readonly shardId: number; readonly offset: number }> {
    return this.#partitions.starts();
  }

  /** Takes up the partitions that the catalog shows now, and lets go those that it does not. */
  follow(): void {
    this.#partitions.follow();
  }

  stop(): void {
    this.#partitions.close();
  }

  // ---- members

  /** A durable member that has no connection now. */
  restore(key: string, epoch: number): void {
    const member = new ShareMember(this.groupId, key, epoch);
    member.durable = true;
    this.#members.set(key, member);
  }

  /** Makes or renews a member. Throws FENCED for an old epoch. */
  join(join: ShareJoin, broker: ShareBroker): ShareMember {
    const { key, epoch } = join;
    const known = this.#members.get(key);
    if (known !== undefined && epoch < known.epoch) {
      throw new OperatingError('FENCED', `${key} has a newer session in ${this.groupId}`);
    }
    if (known?.broker === broker && known.epoch === epoch) {
      known.delivery = join.delivery;
      return known;
    }
    if (known !== undefined) this.#disconnect(known);
    this.#settlePins(join);
    const member = known ?? new ShareMember(this.groupId, key, epoch);
    const isLogged = join.durable && (known?.durable !== true || known.epoch !== epoch);
    if (known?.durable === true && !join.durable) this.#options.propose({ kind: 'left', key });
    member.epoch = epoch;
    member.durable = join.durable;
    member.delivery = join.delivery;
    this.#members.set(key, member);
    if (isLogged) this.#options.propose({ kind: 'joined', key, epoch });
    this.#connect(member, broker, join);
    return member;
  }

  /** The connection has ended; a durable member stays. */
  part(member: ShareMember): void {
    if (!member.durable) {
      this.leave(member);
      return;
    }
    this.#disconnect(member);
    this.#options.ready();
  }

  /** The member's session has ended, or does not want the group any more. */
  leave(member: ShareMember): void {
    this.#disconnect(member);
    this.#members.delete(member.key);
    const hadPins = this.endPins(member.key);
    if (member.durable || hadPins) this.#options.propose({ kind: 'left', key: member.key });
    this.#options.ready();
  }

  /** Settles what is pinned to a session that is no more. Returns whether there was any. */
  endPins(key: string): boolean {
    let hadPins = false;
    for (const { window } of this.#partitions) {
      for (const at of window.pinsOf(key)) hadPins = window.answer(key, at, 'rejected') || hadPins;
    }
    return hadPins;
  }

  /** Sessions that have pins and are no members: those of members that were in memory only. */
  strangers(): string[] {
    return [...this.#partitions.pinHolders()].filter((key) => !this.#members.has(key));
  }

  #connect(member: ShareMember, broker: ShareBroker, { held, room }: ShareJoin): void {
    member.connected(broker, this.#options.nextNumber(), room);
    this.#choice.add(member);
    this.#acquirers.set(member.acquirer, member);
    for (const { shardId: id, offset } of held) {
      this.#partitions.get(id)?.window.claim(member.acquirer, offset);
    }
    if (this.#choice.size === 1) this.#partitions.open(this.#isNew);
    this.#isNew = false;
    this.#options.ready();
  }

  #disconnect(member: ShareMember): void {
    if (!member.isConnected) return;
    this.#choice.remove(member);
    const { acquirer } = member;
    this.#acquirers.delete(acquirer);
    member.disconnected();
    for (const { window } of this.#partitions) window.releaseAll(acquirer);
    if (this.#choice.size === 0) this.#partitions.close();
  }

  /**
   * Pins of a session that comes back: what it has stored is settled, what its connection has stays, the
   * others never reached it. Those of a former session of the same client are settled.
   */
  #settlePins({ key, resumed, held, stored }: ShareJoin): void {
    if (!resumed) {
      if (this.endPins(key)) this.#options.propose({ kind: 'left', key });
      return;
    }
    for (const { shardId: id, window } of this.#partitions) {
      const pins = window.pinsOf(key);
      if (pins.length === 0) continue;
      const isStored = isIn(stored, id);
      const isHeld = isIn(held, id);
      const accepted = pins.filter(isStored);
      for (const offset of accepted) window.answer(key, offset, 'accepted');
      const offsets = pins.filter((offset) => !isStored(offset) && !isHeld(offset));
      for (const offset of offsets) window.answer(key, offset, 'released');
      if (offsets.length > 0) this.#options.propose({ kind: 'unpinned', shardId: id, offsets });
      // The session may forget them once this is answered.
      const progress = accepted.length > 0 ? this.#partitions.progressOf(id) : undefined;
      if (progress !== undefined) this.#options.propose({ kind: 'progressed', ...progress });
    }
  }

  // ---- records

  /** What a member says. Returns whether a pin has ended: then it is to be logged at once. */
  answer(member: ShareMember, { shardId: id, offset, outcome }: ShareAnswer): boolean {
    const partition = this.#partitions.get(id);
    if (partition === undefined) return false;
    const { window } = partition;
    const bytes = window.entry(offset)?.payload;
    if (window.answer(member.acquirer, offset, outcome)) {
      if (bytes !== undefined) this.#answered(member, bytes);
      if (outcome === 'released') this.#options.ready();
      partition.resume();
      return false;
    }
    if (!window.answer(member.key, offset, outcome)) return false;
    if (bytes !== undefined) this.#answered(member, bytes);
    if (outcome === 'released') {
      this.#options.propose({ kind: 'unpinned', shardId: id, offsets: [offset] });
      this.#options.ready();
    }
    partition.resume();
    return true;
  }

  roomMade(member: ShareMember, count: number): void {
    member.roomMade(count);
    this.brokerHasRoom(member);
  }

  /** The member may take more: its own room has grown, or that of its broker. */
  brokerHasRoom(member: ShareMember): void {
    if (!member.hasRoom) return;
    this.#choice.roomMade(member);
    this.#options.ready();
  }

  #answered(member: ShareMember, { start, end }: ShareRecord): void {
    member.answered(end - start);
    this.brokerHasRoom(member);
  }

  /** Gives what is available to members that have room. */
  handOut(): void {
    if (this.#choice.size === 0) return;
    for (const { shardId: id, window } of this.#partitions) {
      if (window.hasAvailable) window.handOut((entry) => this.#place(id, window, entry));
    }
    for (const [id, pins] of this.#pins) {
      this.#options.propose({ kind: 'pinned', shardId: id, pins });
    }
    this.#pins = new Map();
    this.#partitions.rotate();
  }

  /** False: nobody has room. */
  #place(id: number, window: ShareWindow<ShareRecord>, entry: ShareEntry<ShareRecord>): boolean {
    const { payload } = entry;
    if (payload.expiresAtMs <= this.#options.clock.wallMs()) {
      this.#options.counts.expired++;
      window.settle(entry);
      return true;
    }
    const avoided = this.#avoided(entry);
    const member = this.#choice.choose(payload.hash, avoided);
    if (member?.broker === undefined) return avoided !== undefined;
    const delivery = Math.min(payload.delivery, member.delivery) as Delivery;
    if (delivery === Delivery.atMostOnce) window.settle(entry);
    else if (delivery === Delivery.atLeastOnce) {
      window.acquire(entry, member.acquirer, this.#untilMs());
    } else {
      window.pin(entry, member.key);
      this.#notePin(id, { offset: entry.offset, key: member.key });
    }
    this.#options.counts.handedOut++;
    member.given(delivery === Delivery.atMostOnce ? 0 : payload.end - payload.start);
    member.broker.give({ member, entry, delivery });
    return true;
  }

  /** Who did not answer for the record in time, if there is somebody else. */
  #avoided({ attempts, holder }: ShareEntry<ShareRecord>): ShareMember | undefined {
    if (attempts === 0 || this.#choice.size < 2) return undefined;
    return this.#acquirers.get(holder);
  }

  #notePin(id: number, pin: SharePin): void {
    const pins = this.#pins.get(id);
    if (pins === undefined) this.#pins.set(id, [pin]);
    else pins.push(pin);
  }

  #untilMs(): number {
    return this.#options.clock.monotonicMs() + this.#options.protocol.acquisitionMs;
  }

  // ---- now and then

  /** Ends what has lasted too long, and takes up what has stopped. */
  tick(): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const { window } of this.#partitions) {
      window.expire(nowMs, this.#untilMs(), (entry) => this.#timeUp(entry));
    }
    this.#partitions.takeUp();
    this.#options.ready();
  }

  /** A member has not answered in time. False: with nobody else there it is no use, and it may still answer. */
  #timeUp({ holder, payload }: ShareEntry<ShareRecord>): boolean {
    if (this.#choice.size < 2) return false;
    this.#options.counts.timedOut++;
    // Its room stays taken until it answers.
    this.#acquirers.get(holder)?.answered(payload.end - payload.start);
    return true;
  }

  /** Windows that have changed since they were told last. */
  progress(): Iterable<ShareProgress> {
    return this.#partitions.progress();
  }

  /** The progress of one partition, to be logged now. */
  progressOf(id: number): ShareProgress | undefined {
    return this.#partitions.progressOf(id);
  }
}

/** Whether an offset is among those of one partition. */
function isIn(records: readonly ShareStart[], id: number): (offset: number) => boolean {
  const offsets = new Set(records.filter((one) => one.shardId === id).map(({ offset }) => offset));
  return (offset) => offsets.has(offset);
}
