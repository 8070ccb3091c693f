import {
  offset,
  OperatingError,
  type ShardId,
  shardId,
  toOperatingError,
  unreachable,
} from '@robustmq/core';
import type {
  Caller,
  CoordinatorContext,
  CoordinatorKind,
  FanOut,
  MachineTimer,
  Reply,
  StateMachine,
} from '@robustmq/kernel';
import type { PlacementClient } from '@robustmq/placement-client';
import {
  type MqttPosition,
  MqttRetainedCommand,
  type MqttRetainedLookup,
  MqttRetainedPage,
  MqttRetainedPositions,
  MqttRetainedRoom,
} from '@robustmq/rpc';
import { decodeMessage, encodeMessage } from '../session/encoded-message.ts';
import { SnapshotJoiner, snapshotChunks, snapshotChunksOf } from '../session/snapshot-chunk.ts';
import { type TopicCatalog, TopicRouter } from '../session/topic-router.ts';
import { isRetainable, retainedIndex } from './retainable-topics.ts';
import { retainedEntriesOf, RetainedFold } from './retained-fold.ts';
import { RetainedLookups } from './retained-lookups.ts';
import { RetainedPartition } from './retained-partition.ts';
import { RetainedRoom, type RetainedStats } from './retained-room.ts';

/** Its log is the internal topic `$mqtt-retained`. */
export const retainedKind = 'mqtt-retained';
/** Shards when the cluster is made. */
export const retainedShards = 16;

/** Bounds of a coordinator of retained messages. */
export interface RetainedLimits {
  /**
   * Bytes of all messages of one coordinator. Above it publishes that would set one are refused; what comes
   * before the brokers know has a quarter more.
   */
  readonly bytesMax: number;
  /** Lookups that wait for a fold to reach their offsets, or search. */
  readonly waitingMax: number;
}

const limitsDefault: RetainedLimits = { bytesMax: 512 * 1024 * 1024, waitingMax: 10_000 };

export interface RetainedKindOptions {
  readonly catalog: TopicCatalog;
  readonly fanOut: Pick<FanOut, 'attach'>;
  /** Keeps retention from taking what no snapshot has. */
  readonly placement: Pick<PlacementClient, 'holdShards'>;
  readonly limits?: Partial<RetainedLimits>;
  /** What the coordinators at this broker hold is told there. */
  readonly stats?: RetainedStats;
}

/** The coordinator of retained messages, to be registered at the host of every broker. */
export function createRetainedKind(options: RetainedKindOptions): CoordinatorKind {
  const router = new TopicRouter(options.catalog);
  return {
    kind: retainedKind,
    shards: retainedShards,
    create: (context) => new RetainedMachine(context, options, router),
  };
}

/** Kinds of chunks of a snapshot. */
const chunkKinds = { positions: 0, entries: 1 } as const;
const tickMs = 10_000;
/** A snapshot at least so often while the positions move: retention waits for it. */
const snapshotEveryMs = 60_000;
/** Large folds make fewer snapshots: at most so many bytes each second on average. */
const snapshotBytesPerMs = 256;
const unknownRetryMs = 100;
/** Pause between two slices of a walk over what expires. */
const sweepSliceMs = 5;

/**
 * Folds the partitions of one shard of `mqtt-retained` (DESIGN.md, "Retained"). Its state is a fold of
 * other logs: its own log has snapshots only, and a new owner reads the partitions on from there.
 */
export class RetainedMachine implements StateMachine {
  readonly #context: CoordinatorContext;
  readonly #options: RetainedKindOptions;
  readonly #router: TopicRouter;
  readonly #room: RetainedRoom;
  readonly #waitingMax: number;
  readonly #partitions = new Map<number, RetainedPartition>();
  /** Topics of the partitions that the catalog shows. */
  #topics = new Map<number, string>();
  readonly #joiner = new SnapshotJoiner();
  readonly #lookups: RetainedLookups;
  /** Positions that the last snapshot has. */
  #snapshotPositions: MqttPosition[] = [];
  #snapshotAtMs = 0;
  #isDirty = false;
  #waiting = 0;
  #tick: MachineTimer | undefined;
  #sweep: Iterator<void> | undefined;
  #sweepTimer: MachineTimer | undefined;
  #unwatch: () => void = () => {};

  constructor(context: CoordinatorContext, options: RetainedKindOptions, router: TopicRouter) {
    const { bytesMax, waitingMax } = { ...limitsDefault, ...options.limits };
    this.#context = context;
    this.#options = options;
    this.#router = router;
    this.#room = new RetainedRoom(bytesMax, context);
    this.#waitingMax = waitingMax;
    this.#lookups = new RetainedLookups(context.clock);
  }

  apply(): void {
    // No records but snapshots: what is retained is in the partitions' own logs.
  }

  snapshot(): Iterator<Buffer> {
    this.#snapshotPositions = this.#positions();
    this.#snapshotAtMs = this.#context.clock.monotonicMs();
    this.#isDirty = false;
    const folds = [...this.#partitions.values()].map(({ fold }) => fold.snapshot());
    return retainedSnapshot(this.#snapshotPositions, folds);
  }

  restoreChunk(chunk: Buffer): void {
    const joined = this.#joiner.join(chunk);
    if (joined === undefined) return;
    const { kind, bytes } = joined;
    if (kind === chunkKinds.positions) {
      const { positions } = decodeMessage(MqttRetainedPositions, bytes);
      this.#snapshotPositions = positions;
      for (const position of positions) {
        this.#add(shardId(position.shardId), position.offset);
      }
    } else if (kind === chunkKinds.entries) {
      for (const entry of retainedEntriesOf(bytes)) {
        this.#partitions.get(entry.shardId)?.fold.restore(entry);
      }
    } else {
      throw new OperatingError(
        'UNSUPPORTED',
        `a snapshot of retained messages has a chunk of kind ${kind}; a newer version wrote it`,
      );
    }
  }

  started(): void {
    this.#snapshotAtMs = this.#context.clock.monotonicMs();
    this.#unwatch = this.#options.catalog.onChange(({ kind }) => {
      if (kind === 'topic') this.#follow();
    });
    this.#tick = this.#context.timer(() => this.#maintain());
    this.#tick.set(tickMs);
    this.#sweepTimer = this.#context.timer(() => this.#sweepOn());
    this.#options.stats?.add(this.#room);
    this.#hold(this.#snapshotPositions, []);
    this.#follow();
  }

  stopped(): void {
    this.#unwatch();
    for (const partition of this.#partitions.values()) partition.stop();
    this.#partitions.clear();
    this.#lookups.stop();
    this.#options.stats?.remove(this.#room);
  }

  snapshotFinished(): void {
    this.#hold(this.#snapshotPositions, []);
  }

  command(payload: Buffer, _caller: Caller, reply: Reply): void {
    const { command } = decodeMessage(MqttRetainedCommand, payload);
    switch (command?.$case) {
      case undefined:
        throw new OperatingError('UNSUPPORTED', 'a command of a newer version; update this broker');
      case 'lookup':
        this.#lookup(command.value, reply);
        return;
      case 'room':
        reply.ok(encodeMessage(MqttRetainedRoom, { full: this.#room.full }));
        return;
      default:
        unreachable(command);
    }
  }

  #lookup(lookup: MqttRetainedLookup, reply: Reply): void {
    const asked = lookup.reached.map(({ shardId, offset }) => {
      const partition = this.#partitions.get(shardId);
      if (partition !== undefined) return { partition, offset };
      const hint = { retryAfterMs: unknownRetryMs };
      throw new OperatingError('UNAVAILABLE', `shard ${shardId} is not read here yet`, hint);
    });
    if (this.#waiting >= this.#waitingMax) {
      throw new OperatingError('RESOURCE_EXHAUSTED', `${this.#waiting} lookups wait; try again`);
    }
    this.#waiting++;
    let left = asked.length + 1;
    const reached = (): void => {
      left--;
      if (left > 0) return;
      const folds = asked.map(({ partition }) => partition.fold);
      this.#lookups.page(lookup, folds, (page) => {
        this.#waiting--;
        reply.ok(encodeMessage(MqttRetainedPage, page));
      });
    };
    for (const { partition, offset } of asked) partition.whenReached(offset, reached);
    reached();
  }

  /** Reads the partitions that the catalog shows, and forgets those that are gone. */
  #follow(): void {
    this.#topics = this.#wanted();
    const gone = [...this.#partitions.keys()].filter((id) => !this.#topics.has(id));
    for (const id of gone) this.#drop(id);
    const added = [...this.#topics.keys()].filter((id) => !this.#partitions.has(id));
    for (const id of added) this.#add(shardId(id), 0);
    for (const partition of this.#partitions.values()) partition.attach();
    // What no snapshot has is needed from its beginning.
    const holds = added.map((id) => ({ shardId: id, offset: 0 }));
    if (added.length + gone.length > 0) this.#hold(holds, gone);
  }

  #wanted(): Map<number, string> {
    const { catalog } = this.#options;
    const shards = catalog.topic(`$${retainedKind}`)?.shardIds.length ?? retainedShards;
    const wanted = new Map<number, string>();
    for (const topic of catalog.topics()) {
      if (!isRetainable(topic)) continue;
      for (const id of topic.shardIds) {
        if (retainedIndex(id, shards) === this.#context.index) wanted.set(id, topic.name);
      }
    }
    return wanted;
  }

  #add(id: ShardId, position: number): void {
    const { fanOut } = this.#options;
    const { logger } = this.#context;
    const fold = new RetainedFold(id, offset(position), this.#room);
    const nameOf = (key: Buffer | null): string | null => this.#nameOf(id, key);
    this.#partitions.set(id, new RetainedPartition(fold, { fanOut, nameOf, logger }));
  }

  #drop(id: number): void {
    const partition = this.#partitions.get(id);
    this.#partitions.delete(id);
    partition?.drop();
    this.#isDirty = true;
  }

  #nameOf(id: ShardId, key: Buffer | null): string | null {
    const topic = this.#topics.get(id);
    return topic === undefined ? null : this.#router.names.mqttNameOf(topic, key, 'mqtt');
  }

  #positions(): MqttPosition[] {
    return [...this.#partitions.values()].map(({ fold }) => ({
      shardId: fold.shardId,
      offset: fold.position,
    }));
  }

  #maintain(): void {
    this.#tick?.set(tickMs);
    for (const partition of this.#partitions.values()) {
      partition.attach();
      if (partition.takeChanged()) this.#isDirty = true;
    }
    const { clock } = this.#context;
    const everyMs = Math.max(snapshotEveryMs, this.#room.bytes / snapshotBytesPerMs);
    if (this.#isDirty && clock.monotonicMs() - this.#snapshotAtMs >= everyMs) {
      this.#context.requestSnapshot();
    }
    this.#room.report();
    if (this.#sweep === undefined) this.#sweepOn();
  }

  /** Forgets what has expired, a slice in a turn. */
  #sweepOn(): void {
    this.#sweep ??= this.#sweepAll();
    if (this.#sweep.next().done === true) this.#sweep = undefined;
    else this.#sweepTimer?.set(sweepSliceMs);
  }

  *#sweepAll(): Generator<void, undefined> {
    const nowMs = this.#context.clock.wallMs();
    for (const { fold } of this.#partitions.values()) yield* fold.sweep(nowMs);
    return undefined;
  }

  #hold(positions: readonly MqttPosition[], releases: number[]): void {
    const { index, logger } = this.#context;
    const holds = positions.map(({ shardId, offset }) => ({ shardId, offset }));
    this.#options.placement
      .holdShards(`${retainedKind}/${index}`, holds, releases)
      .catch((thrown: unknown) => {
        // The next snapshot sets it again.
        logger.warn({ index }, `holding partitions failed: ${toOperatingError(thrown).message}`);
      });
  }
}

function* retainedSnapshot(
  positions: MqttPosition[],
  folds: readonly Iterator<Buffer>[],
): Generator<Buffer, undefined> {
  const bytes = encodeMessage(MqttRetainedPositions, { positions });
  yield* snapshotChunks(chunkKinds.positions, bytes);
  for (const fold of folds) yield* snapshotChunksOf(chunkKinds.entries, fold);
  return undefined;
}
