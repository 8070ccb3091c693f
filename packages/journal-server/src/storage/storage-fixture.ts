import {
  type Clock,
  type Logger,
  epoch,
  nodeId,
  seededRandom,
  type SegmentId,
  segmentId,
  shardId,
  silentLogger,
  systemClock,
} from '@robustmq/core';
import { encodeFrame, encodeSnapshotFrame, RecordBatchWriter } from '@robustmq/record-batch';
import type { MemoryDisk } from '@robustmq/testkit';
import { openStorage } from './open-storage.ts';
import type { FrameToAppend, JournalStorage, ReplicaManifest, StoredReplica } from './storage.ts';
import type { StorageLimits } from './storage-options.ts';

/** Small enough that every path is walked within a few hundred appends. */
export const smallLimits: Partial<StorageLimits> = {
  walFileBytes: 64 * 1024,
  walBytesMax: 256 * 1024,
  flushBytes: 16 * 1024,
  syncBytes: 64 * 1024,
  unflushedBytesMax: 4 * 1024 * 1024,
  recentBytesMax: 64 * 1024,
  slabBytes: 16 * 1024,
  reserveBytes: 0,
};

export interface OpenedStorage {
  readonly storage: JournalStorage;
  /** What {@link StorageOptions.onFatal} was told. */
  readonly fatal: Error[];
}

/** Opens a storage on a disk in memory, with small limits. */
export async function openOn(
  disk: MemoryDisk,
  limits: Partial<StorageLimits> = {},
  clock: Clock = systemClock(),
  logger: Logger = silentLogger(),
): Promise<OpenedStorage> {
  const fatal: Error[] = [];
  const storage = await openStorage({
    disk: disk.mount(),
    clock,
    random: seededRandom(7),
    logger,
    onFatal: (error) => fatal.push(error),
    limits: { ...smallLimits, ...limits },
  });
  return { storage, fatal };
}

/** Segment id number `n`. */
export function segment(n: number): SegmentId {
  return segmentId(n.toString(16).padStart(4, '0').repeat(8));
}

export function manifest(n: number): ReplicaManifest {
  return {
    segmentId: segment(n),
    shardId: shardId(n + 1),
    epoch: epoch(1),
    replicaNodeIds: [nodeId('journal-1')],
    ackQuorum: 1,
  };
}

/** The replica number `n` of a storage, which has it. */
export function replicaOf(storage: JournalStorage, n: number): StoredReplica {
  const replica = storage.replica(segment(n));
  if (replica === undefined) throw new Error(`no replica ${n}`);
  return replica;
}

const writer = new RecordBatchWriter();

export interface FrameShape {
  readonly records?: number;
  readonly valueBytes?: number;
  readonly timestampMs?: number;
  /** Told apart by this. */
  readonly mark?: number;
}

/** The next frame of a replica: a batch of records whose values begin with the mark. */
export function nextFrame(replica: StoredReplica, shape: FrameShape = {}): FrameToAppend {
  const { records = 1, valueBytes = 32, timestampMs = 1_000, mark = 0 } = shape;
  const value = Buffer.alloc(Math.max(4, valueBytes), 0x61);
  value.writeUInt32LE(mark);
  for (let record = 0; record < records; record++) writer.append(timestampMs, null, value);
  const batch = writer.finish({});
  const { header, chain } = encodeFrame({
    epoch: replica.manifest.epoch,
    writerEpoch: 0,
    appendTimeMs: timestampMs,
    previousChain: replica.chain,
    control: 'none',
    baseOffset: (replica.baseOffset ?? 100) + replica.length,
    filter: Buffer.alloc(0),
    batch,
  });
  return {
    header,
    body: batch,
    records,
    chain,
    maxTimestampMs: timestampMs,
    appendTimeMs: timestampMs,
  };
}

/** A producer snapshot as the next frame of a replica. */
export function nextSnapshot(replica: StoredReplica, snapshot: Buffer): FrameToAppend {
  const { header, chain } = encodeSnapshotFrame(
    { epoch: 1, writerEpoch: 0, appendTimeMs: 1_000, previousChain: replica.chain },
    snapshot,
  );
  return { header, body: snapshot, records: 0, chain, maxTimestampMs: 0, appendTimeMs: 1_000 };
}

/** The bytes of a frame before it is appended, which hands its buffers over. */
export function bytesOf(frame: FrameToAppend): Buffer {
  return Buffer.concat([frame.header, frame.body]);
}

/** All frames of a replica, by reads of `bytesMax`. */
export async function readAll(
  storage: JournalStorage,
  replica: StoredReplica,
  bytesMax = 64 * 1024,
): Promise<Buffer[]> {
  const frames: Buffer[] = [];
  for (let fromIndex = 0; fromIndex < replica.length;) {
    const read = await storage.read(replica, { fromIndex, limitIndex: replica.length, bytesMax });
    if (read.nextIndex <= fromIndex) throw new Error(`the read at ${fromIndex} gets nowhere`);
    frames.push(...read.frames.map((frame) => Buffer.from(frame)));
    fromIndex = read.nextIndex;
  }
  return frames;
}
