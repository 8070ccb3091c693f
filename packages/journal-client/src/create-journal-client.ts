import {
  type Clock,
  type Offset,
  OperatingError,
  type ProducerId,
  type Random,
  type ShardId,
} from '@robustmq/core';
import type { Catalog, CatalogChange } from '@robustmq/placement-client';
import { ScratchPool } from '@robustmq/record-batch';
import type { Transport } from '@robustmq/rpc';
import { BatchingAppender } from './batching-appender.ts';
import type { ClientContext, JournalPlacement } from './client-context.ts';
import { type ClientLimits, defaultClientLimits } from './client-limits.ts';
import { ClientStats } from './client-stats.ts';
import { ClientTurn } from './client-turn.ts';
import { ClientUsage } from './client-usage.ts';
import { EndOffsets } from './end-offsets.ts';
import { ForeignBatch } from './foreign-batch.ts';
import { JournalConnections } from './journal-connections.ts';
import type {
  BatchAppended,
  BatchToAppend,
  JournalClient,
  JournalClientStats,
  ReadOptions,
  ReadResult,
  RecordAppender,
  Tail,
  TailHandlers,
} from './journal-client.ts';
import { OffsetLookup } from './offset-lookup.ts';
import { ProducerIds } from './producer-ids.ts';
import { ProgressCheck } from './progress-check.ts';
import { SegmentFinder } from './segment-finder.ts';
import { ShardReader } from './shard-reader.ts';
import { ShardTail } from './shard-tail.ts';
import { ShardWatch } from './shard-watch.ts';
import { ShardWriter } from './shard-writer.ts';

export interface JournalClientOptions {
  readonly transport: Transport;
  /** Kept up to date by the caller. */
  readonly catalog: Catalog;
  /** Its answers are in the catalog before they are given. */
  readonly placement: JournalPlacement;
  readonly clock: Clock;
  readonly random: Random;
  /** What differs from {@link defaultClientLimits}. */
  readonly limits?: Partial<ClientLimits>;
}

/** A client of the journal tier. Disposing it fails with CANCELLED whatever is not answered then. */
export function createJournalClient(options: JournalClientOptions): JournalClient {
  return new RoutingJournalClient(options);
}

class RoutingJournalClient implements JournalClient {
  readonly #context: ClientContext;
  readonly #stats: ClientStats;
  readonly #closed = new AbortController();
  readonly #writers = new Map<ShardId, ShardWriter>();
  readonly #appenders = new Map<ShardId, BatchingAppender>();
  readonly #tails = new Set<Tail>();
  readonly #finder: SegmentFinder;
  readonly #reader: ShardReader;
  readonly #endOffsets: EndOffsets;
  readonly #lookup: OffsetLookup;
  readonly #endWatch: () => void;

  constructor(options: JournalClientOptions) {
    const usage = new ClientUsage();
    this.#stats = new ClientStats(usage);
    this.#context = makeContext(options, usage, this.#stats, this.#closed.signal);
    const { catalog, placement, limits } = this.#context;
    this.#finder = new SegmentFinder(catalog, placement, limits.segmentCacheShards);
    this.#reader = new ShardReader(this.#context, this.#finder);
    this.#endOffsets = new EndOffsets(this.#context);
    this.#lookup = new OffsetLookup(this.#context);
    this.#endWatch = catalog.onChange((change) => this.#onCatalogChange(change));
  }

  get stats(): JournalClientStats {
    return this.#stats;
  }

  appender(shardId: ShardId): RecordAppender {
    let appender = this.#appenders.get(shardId);
    if (appender === undefined) {
      appender = new BatchingAppender(shardId, this.#writer(shardId), this.#context);
      this.#appenders.set(shardId, appender);
    }
    return appender;
  }

  // oxlint-disable-next-line typescript/require-await -- what the constructor throws is a rejection
  async appendBatch(order: BatchToAppend): Promise<BatchAppended> {
    this.#closed.signal.throwIfAborted();
    const batch = new ForeignBatch(order, this.#context);
    this.#writer(order.shardId).submit(batch.job);
    return batch.answer;
  }

  read(shardId: ShardId, options: ReadOptions): Promise<ReadResult> {
    return this.#reader.read(shardId, options);
  }

  tail(
    shardId: ShardId,
    from: { fromOffset: Offset; readCommitted: boolean; filterTokens?: readonly number[] },
    handlers: TailHandlers,
  ): Tail {
    const target = { shardId, filterTokens: [], ...from };
    const parts = { finder: this.#finder, reader: this.#reader };
    const onClosed = (): void => {
      this.#tails.delete(tail);
    };
    const tail = new ShardTail(target, handlers, this.#context, { ...parts, onClosed });
    this.#tails.add(tail);
    return tail;
  }

  endOffset(shardId: ShardId): Promise<Offset> {
    return this.#endOffsets.get(shardId);
  }

  earliestOffset(shardId: ShardId): Promise<Offset> {
    return this.#lookup.earliest(shardId);
  }

  offsetForTime(shardId: ShardId, timestampMs: number): Promise<Offset | undefined> {
    return this.#lookup.byTime(shardId, timestampMs);
  }

  newProducerId(): Promise<ProducerId> {
    return this.#context.producerIds.next();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const error = new OperatingError('CANCELLED', 'the journal client is closed');
    this.#closed.abort(error);
    const { watch, busyWriters, connections, producerIds } = this.#context;
    this.#endWatch();
    for (const tail of this.#tails) tail.close();
    for (const writer of this.#writers.values()) writer.close(error);
    for (const appender of this.#appenders.values()) appender.close(error);
    watch.close();
    busyWriters.close();
    producerIds.close();
    await connections[Symbol.asyncDispose]();
  }

  /** A journal that has moved or gone for good leaves a connection behind. */
  #onCatalogChange(change: CatalogChange): void {
    if (change.kind !== 'node' || change.before === undefined) return;
    const { address } = change.before;
    if (change.after?.address !== address) void this.#context.connections.drop(address);
  }

  #writer(shardId: ShardId): ShardWriter {
    const known = this.#writers.get(shardId);
    if (known !== undefined) return known;
    const writer = new ShardWriter(shardId, this.#context);
    this.#writers.set(shardId, writer);
    this.#context.watch.on(shardId, () => writer.routeChanged());
    return writer;
  }
}

function makeContext(
  options: JournalClientOptions,
  usage: ClientUsage,
  stats: ClientStats,
  closed: AbortSignal,
): ClientContext {
  const { transport, catalog, placement, clock, random } = options;
  const limits: ClientLimits = { ...defaultClientLimits, ...options.limits };
  const turn = new ClientTurn();
  const block = limits.producerIdBlock;
  const producerIds = new ProducerIds({ placement, clock, random, block });
  let processProducerId: Promise<ProducerId> | undefined;
  return {
    catalog,
    placement,
    clock,
    random,
    limits,
    turn,
    usage,
    closed,
    producerIds,
    connections: new JournalConnections({ transport, placement, clock, turn, limits }),
    watch: new ShardWatch(catalog, clock),
    scratch: new ScratchPool(),
    busyWriters: new ProgressCheck(clock, limits.askPlacementAfterMs / 2),
    processProducerId: () => (processProducerId ??= producerIds.next()),
    countRetry: (code) => stats.countRetry(code),
    countAppended: (records) => stats.countAppended(records),
  };
}
