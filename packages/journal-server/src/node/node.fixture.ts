import { silentLogger } from '@robustmq/core';
import {
  FrameCursor,
  noHeaders,
  RecordBatchWriter,
  type BatchOptions,
  recordsOf,
} from '@robustmq/record-batch';
import {
  AckLevel,
  type AppendEntry,
  inProcessTransport,
  journalControlMethods,
  type RpcClient,
  type RpcServer,
  type Segment,
  segmentIdOfBytes,
  type Status,
  type Transport,
} from '@robustmq/rpc';
import { MemoryDisk, turns, VirtualClock } from '@robustmq/testkit';
import type { JournalStorage } from '../storage/storage.ts';
import { openOn } from '../storage/storage-fixture.ts';
import type { StorageLimits } from '../storage/storage-options.ts';
import { FakeChains } from './fake-chains.fixture.ts';
import { journalLimits, type JournalLimits } from './journal-limits.ts';
import { JournalNode } from './journal-node.ts';
import { registerJournal } from './journal-services.ts';
import type { Replica } from './replica.ts';
import { AppendClient, ReadClient, TailClient } from './stream-clients.fixture.ts';

export interface NodeFixtureOptions {
  readonly disk?: MemoryDisk;
  readonly clock?: VirtualClock;
  readonly chains?: FakeChains;
  readonly limits?: Partial<JournalLimits>;
  readonly storageLimits?: Partial<StorageLimits>;
}

/** A journal's node on a disk in memory, behind an in-process transport, with a fake placement. */
export class NodeFixture implements AsyncDisposable {
  readonly disk: MemoryDisk;
  readonly clock: VirtualClock;
  readonly chains: FakeChains;
  readonly storage: JournalStorage;
  readonly node: JournalNode;
  readonly client: RpcClient;
  readonly #server: RpcServer;

  private constructor(
    parts: { disk: MemoryDisk; clock: VirtualClock; chains: FakeChains; storage: JournalStorage },
    node: JournalNode,
    server: RpcServer,
    transport: Transport,
  ) {
    this.disk = parts.disk;
    this.clock = parts.clock;
    this.chains = parts.chains;
    this.storage = parts.storage;
    this.node = node;
    this.#server = server;
    this.client = transport.connect(server.address, 'bulk');
  }

  static async start(options: NodeFixtureOptions = {}): Promise<NodeFixture> {
    const { disk = new MemoryDisk(), clock = new VirtualClock() } = options;
    const { chains = new FakeChains() } = options;
    const { storage } = await openOn(disk, options.storageLimits, clock);
    const transport = inProcessTransport({ graceMs: 1 });
    const limits = { ...journalLimits, ...options.limits };
    const logger = {
      ...silentLogger(),
      warn: (_: object, message: string) => void chains.warnings.push(message),
    };
    const node = new JournalNode({ storage, placement: chains, transport, clock, limits, logger });
    const server = await transport.listen('journal:0', (registry) =>
      registerJournal(registry, node),
    );
    const fixture = new NodeFixture({ disk, clock, chains, storage }, node, server, transport);
    chains.attach(storage, fixture.client);
    return fixture;
  }

  /** The process dies and comes back: what was not synced may be lost. */
  async restart(options: Pick<NodeFixtureOptions, 'limits'> = {}): Promise<NodeFixture> {
    await this.#server[Symbol.asyncDispose]();
    this.disk.crash({ next: () => 0.5, bytes: (count) => Buffer.alloc(count) });
    const { disk, clock, chains } = this;
    return NodeFixture.start({ disk, clock, chains, ...options });
  }

  /** Opens a segment for a shard, as placement does. */
  async open(shardId: number): Promise<Segment> {
    return this.chains.openNext(shardId);
  }

  replica(segment: Segment): Replica {
    const replica = this.node.replica(segmentIdOfBytes(segment.segmentId));
    if (replica === undefined) throw new Error('the fixture has the replica');
    return replica;
  }

  appends(): AppendClient {
    return new AppendClient(this.client);
  }

  reads(): ReadClient {
    return new ReadClient(this.client);
  }

  tails(): TailClient {
    return new TailClient(this.client);
  }

  async fence(segments: readonly { segment: Segment; epoch: number }[]): Promise<Status[]> {
    const answer = await this.client.call(journalControlMethods.fence, {
      authority: this.chains.authority,
      segments: segments.map(({ segment, epoch }) => ({ segmentId: segment.segmentId, epoch })),
      order: 0,
    });
    return answer.results.map(({ status }) => status ?? this.chains.noStatus);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
    this.disk.releaseSyncs();
    await this.storage[Symbol.asyncDispose]();
  }
}

/** Waits, turn by turn, until `find` gives something. */
export async function until<T>(find: () => T | undefined | false): Promise<T> {
  for (let turn = 0; turn < 5_000; turn++) {
    const found = find();
    if (found !== undefined && found !== false) return found;
    await turns(1);
  }
  throw new Error('what was waited for did not happen');
}

const writer = new RecordBatchWriter();

/** A batch with one record for each value. */
export function batchOf(values: readonly string[], options: BatchOptions = {}): Buffer {
  for (const value of values) writer.append(1_000, null, Buffer.from(value), noHeaders);
  return writer.finish(options);
}

/** Batch number `sequence` of a producer, with one record that says so. */
export function producerBatch(sequence: number, producerId = 7, producerEpoch = 0): Buffer {
  return batchOf([`${producerId}/${sequence}`], {
    producerId,
    producerEpoch,
    baseSequence: sequence,
  });
}

let lastAppendId = 0;

export function entry(
  shardId: number,
  batch: Buffer,
  change: Partial<AppendEntry> = {},
): AppendEntry {
  return {
    appendId: ++lastAppendId,
    shardId,
    expectedEpoch: 0,
    ackLevel: AckLevel.QUORUM,
    writerEpoch: 0,
    resume: false,
    filter: Buffer.alloc(0),
    batch,
    ...change,
  };
}

/** The values in frames, with the offset of each: `offset:value`. */
export function valuesIn(frames: Buffer): string[] {
  const cursor = new FrameCursor();
  cursor.reset(frames);
  const values: string[] = [];
  while (cursor.next() === 'frame') {
    const batch = frames.subarray(cursor.payloadStart, cursor.end);
    for (const { offset, value } of recordsOf(batch)) values.push(`${offset}:${value?.toString()}`);
  }
  return values;
}
