import type { OperatingError, ShardId } from '@robustmq/core';
import type { ShareLink } from './share-link.ts';
import type { ShareArrival, ShareJoin } from './share-message.ts';
import type { ShareStart } from './share-event.ts';
import { Delivery } from './share-record.ts';
import type { ShareOutcome } from './share-window.ts';

/** Takes what a member gets. Called from the event loop; it must not throw. */
export interface ShareReceiver {
  /**
   * A record is the member's: its cursor is valid during the call. Each is followed by one
   * {@link ShareMembership.roomMade}, and unless it is delivered at most once by one
   * {@link ShareMembership.answer}.
   */
  arrived(arrival: ShareArrival): void;
  /** Answers were heard: {@link ShareMembership.isHeard} says which. */
  heard(): void;
  /** The coordinator does not take the member any more. */
  lost(error: OperatingError): void;
}

/** What a member is, as long as its connection lasts. */
export interface ShareMemberOptions {
  readonly groupId: string;
  /** The client. No two connections with the same one at a time. */
  readonly key: string;
  /** Epoch of its session's grant. */
  readonly epoch: number;
  readonly durable: boolean;
  /** The session was there before, and its membership. */
  readonly resumed: boolean;
  readonly delivery: Delivery;
  /** Records that it takes without having made room again. */
  readonly roomMax: number;
  /** Where the group begins if it is not there yet; a partition that is not listed begins at 0. */
  readonly starts: readonly ShareStart[];
  /** Exactly-once records that the session has for good; of others that are pinned to it nothing was sent. */
  readonly stored: readonly ShareStart[];
}

/** A member of a share group that is connected to this broker. */
export class ShareMembership {
  /** Its number and ownership at the coordinator; set by the link. */
  number = 0;
  token = '';
  /** Of the last `join` that was sent. */
  joinSequence = 0;
  readonly #options: ShareMemberOptions;
  readonly #receiver: ShareReceiver;
  readonly #link: ShareLink;
  /** What it has and was not heard to be answered, by shard. */
  readonly #inHand = new Map<number, Set<number>>();
  #delivery: Delivery;
  #isResumed: boolean;
  #outstanding = 0;
  /** Where a group that is lost begins anew: nowhere before what was seen of it. */
  readonly #starts: Map<number, number>;
  #isClosed = false;

  constructor(link: ShareLink, options: ShareMemberOptions, receiver: ShareReceiver) {
    this.#link = link;
    this.#options = options;
    this.#receiver = receiver;
    this.#delivery = options.delivery;
    this.#isResumed = options.resumed;
    this.#starts = new Map(options.starts.map(({ shardId, offset }) => [shardId, offset]));
  }

  get groupId(): string {
    return this.#options.groupId;
  }

  get key(): string {
    return this.#options.key;
  }

  get epoch(): number {
    return this.#options.epoch;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Takes part; rejects when it is refused or the coordinator cannot be reached in time. */
  async join(): Promise<void> {
    await this.#link.join(this);
  }

  /** Takes at most so much from now on; resolves when the coordinator knows. */
  async setDelivery(delivery: Delivery): Promise<void> {
    this.#delivery = delivery;
    await this.#link.join(this);
  }

  /** What became of a record that has arrived. */
  answer(shardId: ShardId, offset: number, outcome: ShareOutcome): void {
    if (!this.#isClosed) this.#link.answer({ member: this, shardId, offset, outcome });
  }

  /** Whether the coordinator has heard what became of a record, so that it does not come back. */
  isHeard(shardId: ShardId, offset: number): boolean {
    return this.#inHand.get(shardId)?.has(offset) !== true;
  }

  /** So many more records may come. */
  roomMade(count: number): void {
    this.#outstanding -= count;
    if (!this.#isClosed) this.#link.roomMade(this, count);
  }

  /**
   * Ends the connection: what it has at least once goes to others, what it has exactly once stays with a
   * durable session. Nothing arrives any more. Resolves when the coordinator has heard of it.
   */
  part(): Promise<void> {
    return this.#depart('part');
  }

  /** Ends the membership, and with it what is pinned to it. */
  leave(): Promise<void> {
    return this.#depart('leave');
  }

  #depart(kind: 'part' | 'leave'): Promise<void> {
    if (this.#isClosed) return Promise.resolve();
    this.#isClosed = true;
    return this.#link.depart(this, kind);
  }

  // ---- for the link

  joinNow(): ShareJoin {
    const { groupId, key, epoch, durable, roomMax, stored } = this.#options;
    const starts = [...this.#starts].map(([shardId, offset]) => ({ shardId, offset }));
    const held: ShareStart[] = [];
    for (const [shardId, offsets] of this.#inHand) {
      for (const offset of offsets) held.push({ shardId, offset });
    }
    const room = Math.max(0, roomMax - this.#outstanding);
    const own = { groupId, key, epoch, durable, resumed: this.#isResumed };
    return { ...own, delivery: this.#delivery, room, starts, held, stored };
  }

  joined(token: string, number: number): void {
    this.token = token;
    this.number = number;
    // Whoever has to be told again finds what this connection has.
    this.#isResumed = true;
  }

  arrived(arrival: ShareArrival): void {
    this.#outstanding++;
    const { shardId: id, offset } = arrival;
    if (offset >= (this.#starts.get(id) ?? 0)) this.#starts.set(id, offset + 1);
    if (arrival.delivery !== Delivery.atMostOnce) this.#has(arrival.shardId, arrival.offset);
    this.#receiver.arrived(arrival);
  }

  confirmed(shardId: number, offset: number): void {
    const offsets = this.#inHand.get(shardId);
    offsets?.delete(offset);
    if (offsets?.size === 0) this.#inHand.delete(shardId);
  }

  allConfirmed(): void {
    this.#receiver.heard();
  }

  lost(error: OperatingError): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#receiver.lost(error);
  }

  #has(shardId: number, offset: number): void {
    const offsets = this.#inHand.get(shardId);
    if (offsets === undefined) this.#inHand.set(shardId, new Set([offset]));
    else offsets.add(offset);
  }
}
