import {
  assert,
  type Clock,
  type Logger,
  OperatingError,
  type SegmentId,
  segmentId as segmentIdOf,
  TimerWheel,
} from '@robustmq/core';
import { SegmentState, type Shard, type Transport } from '@robustmq/rpc';
import type { ReplicaLimits } from '../core/replica-state.ts';
import type { JournalStorage, StoredReplica } from '../storage/storage.ts';
import type { AppendPort } from './append-stream.ts';
import type { ControlPort } from './control-port.ts';
import { Flusher } from './flusher.ts';
import type { FollowerLag } from './follower-link.ts';
import { FrameReader } from './frame-reader.ts';
import type { InFlightAppend } from './in-flight-append.ts';
import { JournalCounters } from './journal-counters.ts';
import type { JournalLimits } from './journal-limits.ts';
import { LocalShard } from './local-shard.ts';
import type { OffsetPort } from './offset-queries.ts';
import { operatingErrorOf } from './operating-error.ts';
import { DeletedSegments } from './deleted-segments.ts';
import { OrderNumber } from './order-number.ts';
import type { PlacementPort } from './placement-port.ts';
import { ProducerTakeover } from './producer-takeover.ts';
import { Replica } from './replica.ts';
import { ReplicaDriver, type ReplicaOwner } from './replica-driver.ts';
import { Replicator } from './replicator.ts';
import { Roller } from './roller.ts';
import type { ReaderPort } from './stream-port.ts';
import { TransactionViews } from './transaction-views.ts';

export interface JournalNodeOptions {
  readonly storage: JournalStorage;
  readonly placement: PlacementPort;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly limits: JournalLimits;
  readonly logger: Logger;
}

/** As the contract of heartbeats says. */
const closedToldMax = 1_000;

/**
 * A journal without its network: the replicas of this node, which of them it leads, and the way of an
 * append from a stream through core and storage back to its answer. Streams and orders are served by
 * the objects that get it as their port.
 */
export class JournalNode implements AppendPort, ReaderPort, ControlPort, OffsetPort, ReplicaOwner {
  readonly storage: JournalStorage;
  readonly limits: JournalLimits;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly transport: Transport;
  readonly wheel: TimerWheel;
  readonly flusher = new Flusher();
  readonly counters = new JournalCounters();
  readonly reader: FrameReader;
  readonly driver: ReplicaDriver;
  readonly takeover: ProducerTakeover;
  isDraining = false;
  /** Called after each group that was synced. */
  onSynced: () => void = () => {};
  readonly #placement: PlacementPort;
  readonly #transactions: TransactionViews;
  readonly #roller: Roller;
  readonly #replicator: Replicator;
  readonly #replicaLimits: ReplicaLimits;
  readonly #shards = new Map<number, LocalShard>();
  readonly #replicas = new Map<SegmentId, Replica>();
  /** Led no more, and without an end. */
  readonly #endless = new Set<Replica>();
  readonly #led = new Set<Replica>();
  /** Copies that an order is making. */
  readonly copying = new Set<SegmentId>();
  readonly orderNumber = new OrderNumber();
  readonly deleted = new DeletedSegments();
  readonly #stopWatching: () => void;
  #inFlightBytes = 0;
  #cancelSweep: () => void = () => {};

  constructor(options: JournalNodeOptions) {
    const { storage, placement, transport, clock, limits, logger } = options;
    this.storage = storage;
    this.limits = limits;
    this.clock = clock;
    this.logger = logger;
    this.transport = transport;
    this.#placement = placement;
    this.wheel = new TimerWheel(clock);
    const { counters, wheel } = this;
    this.driver = new ReplicaDriver({ storage, clock, wheel, counters, owner: this });
    const replica = (id: SegmentId): Replica | undefined => this.replica(id);
    this.takeover = new ProducerTakeover({ storage, transport, clock, limits, replica });
    this.#transactions = new TransactionViews({
      storage,
      newState: () => this.takeover.uncounted(),
      segmentsMax: limits.transactionIndexesMax,
    });
    this.reader = new FrameReader(storage, this.#transactions);
    const { driver } = this;
    this.#roller = new Roller({
      storage,
      placement,
      driver,
      clock,
      limits,
      counters,
      logger,
      isFollowerBehind: (led) => this.#replicator.isBehind(led),
    });
    this.#replicator = new Replicator({
      storage,
      placement,
      transport,
      driver,
      flusher: this.flusher,
      clock,
      limits,
      logger,
    });
    this.#replicaLimits = limits;
    // A copy that was not completed is nothing that anybody may ask for.
    for (const stored of storage.replicas()) if (!stored.isCopying) this.#add(stored);
    storage.onDurable = (grown) => this.#onDurable(grown);
    storage.onDamaged = ({ manifest }) => void this.#onDamaged(manifest.segmentId);
    this.#stopWatching = placement.catalog.onChange((change) => {
      if (change.kind === 'shard' && change.after !== undefined) this.#chainChanged(change.after);
    });
    this.#sweep();
  }

  // What is here.

  get ledSegments(): number {
    return this.#led.size;
  }

  /** Segments that were led here, and whose ends placement has not told yet; at most 1,000. */
  get closedSegments(): readonly SegmentId[] {
    const closed: SegmentId[] = [];
    for (const replica of this.#endless) {
      const { segmentId } = replica.stored.manifest;
      const isOver = replica.isSealed || this.#replicas.get(segmentId) !== replica;
      if (isOver) this.#endless.delete(replica);
      else if (closed.length < closedToldMax) closed.push(segmentId);
    }
    return closed;
  }

  get inFlightBytes(): number {
    return this.#inFlightBytes;
  }

  get damagedReplicas(): number {
    let count = 0;
    for (const { stored } of this.#replicas.values()) if (stored.damaged) count++;
    return count;
  }

  get replicaCount(): number {
    return this.#replicas.size;
  }

  get followerLags(): readonly FollowerLag[] {
    return this.#replicator.lags();
  }

  replica(segmentId: SegmentId): Replica | undefined {
    return this.#replicas.get(segmentId);
  }

  newestEpoch(shardId: number): number {
    return this.#shards.get(shardId)?.last?.stored.manifest.epoch ?? 0;
  }

  adopt(segmentIds: readonly SegmentId[]): void {
    for (const segmentId of segmentIds) {
      const stored = this.storage.replica(segmentId);
      assert(stored !== undefined, 'a created replica is in the storage');
      if (!this.#replicas.has(segmentId)) this.#add(stored);
    }
  }

  #add(stored: StoredReplica): void {
    const { segmentId, shardId } = stored.manifest;
    const shard = this.#shards.get(shardId) ?? new LocalShard(shardId);
    this.#shards.set(shardId, shard);
    const replica = new Replica(stored, shard, this.storage.nodeId, this.#replicaLimits);
    this.#replicas.set(segmentId, replica);
    shard.replicaCount++;
    if (replica.isBaseKnown) shard.add(replica);
  }

  remove(replica: Replica): void {
    const { shard } = replica;
    this.#led.delete(replica);
    this.#replicator.end(replica);
    this.#replicas.delete(replica.stored.manifest.segmentId);
    shard.remove(replica);
    shard.replicaCount--;
    this.takeover.forget(replica);
    this.#transactions.forget(replica);
    if (shard.replicaCount === 0 && shard.inFlightBytes === 0) this.#shards.delete(shard.shardId);
  }

  // Leading.

  led(replica: Replica): void {
    const { shard } = replica;
    const before = shard.led;
    shard.add(replica);
    shard.led = replica;
    this.#led.add(replica);
    this.#replicator.begin(replica);
    if (before === undefined || !before.isLeader) return;
    // The roll of the segment before was carried out: what waited for it goes on here, in order.
    const length = replica.baseOffset - before.baseOffset;
    if (length === before.state.length) this.#sealedBy(before, length);
    else this.driver.run(before, { kind: 'close' });
  }

  #sealedBy(replica: Replica, length: number): void {
    this.driver.run(replica, { kind: 'sealed', length });
    // Placement tells it once more if this is lost.
    this.#roller.sealStored([{ replica, length }]).catch((thrown: unknown) => {
      const { code, message } = operatingErrorOf(thrown);
      this.logger.warn({ code, message }, 'the end of a segment could not be stored');
    });
  }

  closed(replica: Replica): void {
    replica.isRolling = false;
    if (this.#led.delete(replica) && !replica.isSealed) this.#endless.add(replica);
    this.#replicator.end(replica);
    if (replica.shard.led === replica) replica.shard.led = undefined;
    this.takeover.keep(replica);
    this.#roller.closed(replica);
  }

  drained(replica: Replica): void {
    if (replica.isRolling) this.#roller.drained(replica);
  }

  /** Frames of a leader have come: the base of the segment is known. */
  follows(replica: Replica): void {
    replica.shard.add(replica);
  }

  written(replica: Replica): void {
    this.#replicator.written(replica);
    this.#roller.consider(replica);
  }

  /** Amendment 7: who waits at an old leader is told at once. */
  #chainChanged(shard: Shard): void {
    const led = this.#shards.get(shard.shardId)?.led;
    if (led !== undefined) this.#roller.chainChanged(led, shard);
  }

  notLeader(shardId: number): OperatingError {
    const open = this.#placement.catalog
      .shard(shardId)
      ?.segments.find(({ state }) => state === SegmentState.OPEN);
    const message = `this journal leads no open segment of shard ${shardId}: ask placement to open one`;
    // A segment that the last incarnation led is of no use to anybody.
    const isUseful = open !== undefined && open.leaderNodeId !== this.storage.nodeId;
    const hint = isUseful ? { nodeId: open.leaderNodeId, epoch: open.epoch } : {};
    return new OperatingError('NOT_LEADER', message, hint);
  }

  // Appends.

  submit(append: InFlightAppend): void {
    this.counters.appends++;
    const led = this.#shards.get(append.shardId)?.led;
    const error = this.#reasonToRefuse(append, led);
    if (error !== undefined || led === undefined) {
      append.owner.refused(append, error ?? this.notLeader(append.shardId));
      return;
    }
    append.isCounted = true;
    led.shard.inFlightBytes += append.bytes;
    this.#inFlightBytes += append.bytes;
    this.driver.run(led, { kind: 'append', append });
  }

  #reasonToRefuse(append: InFlightAppend, led: Replica | undefined): OperatingError | undefined {
    if (this.isDraining) {
      return new OperatingError('UNAVAILABLE', 'this journal shuts down: resolve the shard');
    }
    if (led === undefined) return this.notLeader(append.shardId);
    const { inFlightBytesMax, inFlightBytesPerShardMax, exhaustedRetryMs } = this.limits;
    const ofShard = led.shard.inFlightBytes + append.bytes;
    const ofNode = this.#inFlightBytes + append.bytes;
    if (ofShard <= inFlightBytesPerShardMax && ofNode <= inFlightBytesMax) return undefined;
    const message = `${led.shard.inFlightBytes} bytes of shard ${append.shardId} and ${this.#inFlightBytes} of the journal wait for the disk: come back later`;
    return new OperatingError('RESOURCE_EXHAUSTED', message, { retryAfterMs: exhaustedRetryMs });
  }

  reroute(append: InFlightAppend): void {
    const led = this.#shards.get(append.shardId)?.led;
    if (led === undefined) this.refuse(append, this.notLeader(append.shardId));
    else this.driver.run(led, { kind: 'append', append });
  }

  acknowledge(append: InFlightAppend): void {
    this.#settle(append);
    this.counters.appendedRecords += append.facts.records;
    if (append.isDuplicate) this.counters.duplicates++;
    append.owner.acknowledged(append);
  }

  refuse(append: InFlightAppend, error: OperatingError): void {
    this.#settle(append);
    append.owner.refused(append, error);
  }

  #settle(append: InFlightAppend): void {
    assert(append.isCounted, 'an append is answered once');
    append.isCounted = false;
    this.#inFlightBytes -= append.bytes;
    const shard = this.#shards.get(append.shardId);
    if (shard !== undefined) shard.inFlightBytes -= append.bytes;
  }

  /** A group was synced: everything that it commits is answered and told in this turn. */
  #onDurable(grown: readonly StoredReplica[]): void {
    for (const stored of grown) {
      const replica = this.#replicas.get(stored.manifest.segmentId);
      if (replica === undefined) continue;
      const durableLength = Math.min(stored.durableLength, replica.state.length);
      this.driver.run(replica, { kind: 'localDurable', durableLength });
    }
    this.flusher.flush();
    this.onSynced();
  }

  /** A damaged log takes nothing more: its leader steps down, and placement, which is told, seals the segment. */
  async #onDamaged(segmentId: SegmentId): Promise<void> {
    // Not within the event that found it.
    await Promise.resolve();
    const replica = this.#replicas.get(segmentId);
    if (replica?.isLeader === true) this.driver.run(replica, { kind: 'close' });
  }

  // Reads.

  locate(shardId: number, offset: number, expectedEpoch: number): Replica {
    const trimOffset = this.#placement.catalog.shard(shardId)?.trimOffset ?? 0;
    if (offset < trimOffset) {
      const message = `shard ${shardId} begins at ${trimOffset}: ${offset} was trimmed`;
      throw new OperatingError('OFFSET_OUT_OF_RANGE', message, { earliestOffset: trimOffset });
    }
    const replica = this.#shards.get(shardId)?.replicaAt(offset);
    if (replica?.isOpenElsewhere === true) throw this.notLeader(shardId);
    // Who has not been told yet that a segment has ended would take its end for the shard's.
    if (replica !== undefined && replica.stored.manifest.epoch >= expectedEpoch) return replica;
    const message = `this journal has no segment of shard ${shardId} with offset ${offset}: resolve it`;
    throw new OperatingError('SEGMENT_UNKNOWN', message);
  }

  outOfRange({ shard: { shardId }, endOffset }: Replica, offset: number): OperatingError {
    const earliestOffset = this.#placement.catalog.shard(shardId)?.trimOffset ?? 0;
    const message = `offset ${offset} lies behind the end ${endOffset} of shard ${shardId}`;
    return new OperatingError('OFFSET_OUT_OF_RANGE', message, { earliestOffset });
  }

  segmentOf(shardId: number, segmentId: string | undefined, expectedEpoch: number): Replica {
    if (segmentId === undefined) {
      const led = this.#shards.get(shardId)?.led;
      if (led === undefined || led.stored.manifest.epoch < expectedEpoch) {
        throw this.notLeader(shardId);
      }
      return led;
    }
    const replica = this.#replicas.get(segmentIdOf(segmentId));
    if (replica?.isBaseKnown === true) return replica;
    const message = `this journal has no readable replica of segment ${segmentId}`;
    throw new OperatingError('SEGMENT_UNKNOWN', message);
  }

  // Time and end.

  readonly #sweep = (): void => {
    const nowMs = this.clock.monotonicMs();
    for (const replica of this.#led) {
      this.#roller.consider(replica);
      replica.state.leading?.producers.forgetIdle(nowMs);
    }
    this.#cancelSweep = this.clock.setTimer(this.limits.sweepEachMs, this.#sweep);
  };

  /**
   * Takes no more appends, makes everything durable, and seals the led segments with known ends if
   * placement is there. Bounded in time; what is left is sealed by placement after the next start.
   */
  async drain(): Promise<void> {
    this.isDraining = true;
    this.#cancelSweep();
    const { drainDurableMs, drainRollMs } = this.limits;
    const led = [...this.#led];
    await this.#within(drainDurableMs, this.storage.sync());
    if (this.#placement.connected) {
      await this.#within(drainRollMs, this.#roller.drainAll(led));
    }
    for (const replica of this.#led) this.driver.run(replica, { kind: 'close' });
    this.flusher.flush();
    await this.#replicator.close();
    this.#stopWatching();
    this.wheel.clear();
    this.logger.info({ led: led.length, left: this.#led.size }, 'journal drained');
  }

  /** Resolves with `work` or when the time is over, whichever comes first. */
  async #within(limitMs: number, work: Promise<void>): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const cancel = this.clock.setTimer(limitMs, resolve);
    await Promise.race([work, promise]);
    cancel();
  }
}
