import {
  type Clock,
  type Logger,
  type Offset,
  OperatingError,
  type Random,
  type ShardId,
  shardId,
} from '@robustmq/core';
import type { FanOut } from '../fan-out/fan-out.ts';
import { MemberChoice } from './member-choice.ts';
import type { ShareBroker } from './share-broker.ts';
import type { ShareEvent, SharePin, ShareProgress, ShareStart } from './share-event.ts';
import { ShareMember } from './share-member.ts';
import type { ShareAnswer, ShareJoin } from './share-message.ts';
import { SharePartition } from './share-partition.ts';
import type { ShareProtocol, ShareSource } from './share-protocol.ts';
import { Delivery, type ShareBudget, type ShareRecord } from './share-record.ts';
import type { ShareEntry, ShareWindowImage } from './share-window.ts';

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

/** What is counted, for all groups of a coordinator. */
export interface ShareGroupCounts {
  handedOut: number;
  expired: number;
  timedOut: number;
  lost: number;
}

/** A share group that is served: its windows, its members, and who gets what. */
export class ShareGroup {
  readonly groupId: string;
  readonly counts: ShareGroupCounts = { handedOut: 0, expired: 0, timedOut: 0, lost: 0 };
  readonly #options: ShareGroupOptions;
  readonly #members = new Map<string, ShareMember>();
  readonly #choice: MemberChoice<ShareMember>;
  /** Connected members, by what they acquire as. */
  readonly #acquirers = new Map<string, ShareMember>();
  readonly #partitions = new Map<number, SharePartition>();
  /** Windows of partitions that the catalog does not show. */
  readonly #unshown: Map<number, ShareWindowImage>;
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
    this.#unshown = new Map(stored.windows);
    this.#isNew = stored.isNew;
    this.follow();
  }

  get isEmpty(): boolean {
    return this.#members.size === 0;
  }

  get members(): number {
    return this.#members.size;
  }

  get connectedMembers(): number {
    return this.#choice.size;
  }

  member(key: string): ShareMember | undefined {
    return this.#members.get(key);
  }

  /** Lowest offset that it still needs, of each partition. */
  *starts(): Generator<{ readonly shardId: number; readonly offset: number }> {
    for (const [id, { window }] of this.#partitions) yield { shardId: id, offset: window.start };
    for (const [id, { start }] of this.#unshown) yield { shardId: id, offset: start };
  }

  // ---- partitions

  /** Takes up the partitions that the catalog shows now, and lets go those that it does not. */
  follow(): void {
    const shown = new Set<number>(this.#options.source.partitions());
    for (const [id, partition] of this.#partitions) {
      if (shown.has(id)) continue;
      partition.close();
      this.#unshown.set(id, partition.window.image());
      this.#partitions.delete(id);
    }
    for (const id of shown) {
      if (this.#partitions.has(id)) continue;
      // A partition that was made later is the group's from its first record on.
      const image = this.#unshown.get(id) ?? emptyImage;
      this.#unshown.delete(id);
      const partition = this.#newPartition(shardId(id), image);
      this.#partitions.set(id, partition);
      if (this.#choice.size > 0) partition.open(this.#isNew || image === emptyImage);
    }
  }

  stop(): void {
    for (const partition of this.#partitions.values()) partition.close();
  }

  #newPartition(id: ShardId, image: ShareWindowImage): SharePartition {
    const { source, fanOut, endOffset, budget, recordsMax, logger, protocol, ready } =
      this.#options;
    const { attemptsMax } = protocol;
    const own = { source, fanOut, endOffset, budget, recordsMax, attemptsMax, logger };
    return new SharePartition(id, image, { ...own, arrived: ready });
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

  /** Settles what is pinned to a session that is no more. [MQTT5-4.8.2-5] Returns whether there was any. */
  endPins(key: string): boolean {
    let hadPins = false;
    for (const { window } of this.#partitions.values()) {
      for (const at of window.pinsOf(key)) hadPins = window.answer(key, at, 'rejected') || hadPins;
    }
    return hadPins;
  }

  /** Sessions that have pins and are no members: those of members that were in memory only. */
  *strangers(): Generator<string> {
    const seen = new Set<string>();
    for (const { window } of this.#partitions.values()) {
      for (const key of window.image().pins.values()) {
        if (this.#members.has(key) || seen.has(key)) continue;
        seen.add(key);
        yield key;
      }
    }
  }

  #connect(member: ShareMember, broker: ShareBroker, { held, room }: ShareJoin): void {
    member.connected(broker, this.#options.nextNumber(), room);
    this.#choice.add(member);
    this.#acquirers.set(member.acquirer, member);
    for (const { shardId: id, offset } of held) {
      this.#partitions.get(id)?.window.claim(member.acquirer, offset);
    }
    if (this.#choice.size === 1) {
      for (const partition of this.#partitions.values()) partition.open(this.#isNew);
    }
    this.#isNew = false;
    this.#options.ready();
  }

  #disconnect(member: ShareMember): void {
    if (!member.isConnected) return;
    this.#choice.remove(member);
    const { acquirer } = member;
    this.#acquirers.delete(acquirer);
    member.disconnected();
    for (const { window } of this.#partitions.values()) window.releaseAll(acquirer);
    if (this.#choice.size > 0) return;
    for (const partition of this.#partitions.values()) partition.close();
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
    for (const [id, { window }] of this.#partitions) {
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
      const progress = accepted.length > 0 ? this.progressOf(id) : undefined;
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
    for (const [id, { window }] of this.#partitions) {
      if (window.hasAvailable) window.handOut((entry) => this.#place(id, entry));
    }
    for (const [id, pins] of this.#pins) {
      this.#options.propose({ kind: 'pinned', shardId: id, pins });
    }
    this.#pins = new Map();
    this.#rotate();
  }

  /** The next time another partition is the first: none has to wait for the others for long. */
  #rotate(): void {
    const [first] = this.#partitions;
    if (first === undefined) return;
    this.#partitions.delete(first[0]);
    this.#partitions.set(...first);
  }

  /** False: nobody has room. */
  #place(id: number, entry: ShareEntry<ShareRecord>): boolean {
    const { window } = this.#partitions.get(id) ?? {};
    if (window === undefined) return false;
    const { payload } = entry;
    if (payload.expiresAtMs <= this.#options.clock.wallMs()) {
      this.counts.expired++;
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
    this.counts.handedOut++;
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
    for (const partition of this.#partitions.values()) {
      partition.window.expire(nowMs, this.#untilMs(), () => {
        // With nobody else there it is no use: the one who has it may still answer.
        if (this.#choice.size < 2) return false;
        this.counts.timedOut++;
        return true;
      });
      if (this.#choice.size === 0) continue;
      partition.resume();
      partition.open(false);
    }
    this.#options.ready();
  }

  /** Windows that have changed since they were told last. */
  *progress(): Generator<ShareProgress> {
    for (const [id, { window }] of this.#partitions) {
      if (!window.takeChanged()) continue;
      const { start, settled, attempts } = window.image();
      yield { shardId: id, start, settled, attempts };
    }
  }

  /** The progress of one partition, to be logged now. */
  progressOf(id: number): ShareProgress | undefined {
    const window = this.#partitions.get(id)?.window;
    if (window?.takeChanged() !== true) return undefined;
    const { start, settled, attempts } = window.image();
    return { shardId: id, start, settled, attempts };
  }
}

/** Whether an offset is among those of one partition. */
function isIn(records: readonly ShareStart[], id: number): (offset: number) => boolean {
  const offsets = new Set(records.filter((one) => one.shardId === id).map(({ offset }) => offset));
  return (offset) => offsets.has(offset);
}

const emptyImage: ShareWindowImage = {
  start: 0,
  settled: [],
  attempts: new Map(),
  pins: new Map(),
};
