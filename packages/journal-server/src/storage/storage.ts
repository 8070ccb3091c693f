import type { Epoch, Incarnation, NodeId, Offset, SegmentId, ShardId } from '@robustmq/core';
import type { CatalogFile } from './catalog-file.ts';
import type { Damages } from './damages.ts';
import type { ScrubProgress } from './scrub/scrub-progress.ts';

/** What a replica is, fixed when it is created (docs/journal.md, section 2.1). */
export interface ReplicaManifest {
  readonly segmentId: SegmentId;
  readonly shardId: ShardId;
  /** Epoch under which the segment is opened. */
  readonly epoch: Epoch;
  /** The replica set, unchanged for life. */
  readonly replicaNodeIds: readonly NodeId[];
  readonly ackQuorum: number;
}

/**
 * One replica as it is stored on this node. Lengths count records (offsets), always at batch
 * boundaries (docs/journal.md, amendment 2). Only the storage changes it.
 */
export interface StoredReplica {
  readonly manifest: ReplicaManifest;
  /** Offset of the segment's first record; undefined until a leader or the first frame told it. */
  readonly baseOffset: Offset | undefined;
  /** Records accepted, durable or not. */
  readonly length: number;
  /** Records that a sync covers. Only these may be counted towards a commit. */
  readonly durableLength: number;
  /** Chain value after the last accepted frame; 0 before the first. */
  readonly chain: number;
  /** Nothing below this epoch is taken any more. Durable once {@link JournalStorage.fence} resolves. */
  readonly fencedEpoch: Epoch;
  /** Final length, once sealed. */
  readonly sealedLength: number | undefined;
  /** A copy that is being made: it has a part of a sealed segment and counts for nothing. */
  readonly isCopying: boolean;
  /** Whether a checksum failed below the durable length: such a replica never leads nor counts. */
  readonly damaged: boolean;
  /** Incarnation that has led it; a replica is activated at most once. */
  readonly activatedBy: Incarnation | undefined;
  /** Bytes of all frames. */
  readonly sizeBytes: number;
  /** Largest record time stamp, ms since 1970; 0 when empty. */
  readonly maxTimestampMs: number;
  /** Append time of its first frame, ms since 1970; 0 when empty. */
  readonly firstAppendMs: number;
}

/** One frame to append: header and filter, then the batch, which stay separate buffers. */
export interface FrameToAppend {
  /** Frame header and filter (record-batch, `encodeFrame`). The storage owns it from now on. */
  readonly header: Buffer;
  /** The batch with its base offset patched in, or a producer snapshot. The storage owns it from now on. */
  readonly body: Buffer;
  /** Records in the batch (last offset delta + 1); 0 for a producer snapshot. */
  readonly records: number;
  /** Chain value after this frame. */
  readonly chain: number;
  readonly maxTimestampMs: number;
  readonly appendTimeMs: number;
}

export interface StorageRead {
  /** Whole frames in order, each verified if it came from disk; the first may begin before `from`. */
  readonly frames: readonly Buffer[];
  /** Records before this index (relative to the segment's base) were given or passed over. */
  readonly nextIndex: number;
}

/**
 * The disk side of a journal: one write-ahead log with group commit, memtables, segment files
 * filled behind, recovery. It decides nothing about leadership, commits or producers.
 *
 * Order: records of all kinds of one replica become durable in the order in which these methods
 * were called; a fence is behind every append accepted before it.
 */
export interface JournalStorage extends AsyncDisposable {
  /** Identity of this node and disk; a new incarnation with every start. */
  readonly nodeId: NodeId;
  readonly diskUuid: string;
  readonly incarnation: Incarnation;
  /** Cluster it belongs to; empty until {@link adoptCluster}. */
  readonly clusterId: string;
  /** Highest placement epoch seen, durable. */
  readonly placementEpoch: number;

  /** Remembers cluster and placement epoch durably (both only once or upwards). */
  adoptCluster(clusterId: string, placementEpoch: number): Promise<void>;

  /**
   * Makes {@link incarnation} at least that, durably: placement knows another disk under the node's id. Only
   * before anything was led since the start.
   */
  raiseIncarnation(wanted: Incarnation): Promise<void>;

  /** The copy of placement's catalog that this node keeps for it. */
  readonly catalog: CatalogFile;

  replica(segmentId: SegmentId): StoredReplica | undefined;
  replicas(): Iterable<StoredReplica>;

  /** Creates replicas; resolves once their manifests are durable. Existing ones are left as they are. */
  create(manifests: readonly ReplicaManifest[]): Promise<void>;

  /**
   * Creates a replica that is filled from others, fenced: {@link StoredReplica.isCopying} until it is sealed
   * with all its records, over restarts, too. Resolves once that is durable. Where there is a damaged replica
   * of the segment, that one stays {@link replica} until the copy is sealed; then its file goes into quarantine.
   */
  createCopy(manifest: ReplicaManifest, epoch: Epoch): Promise<StoredReplica>;

  /** The copy of a segment that is being made, beside a damaged replica or alone. */
  copyOf(segmentId: SegmentId): StoredReplica | undefined;

  /** Gives up a copy that is being made; a damaged replica beside it stays. */
  abandonCopy(copy: StoredReplica): Promise<void>;

  /** Files that are kept aside: damaged replicas that were replaced, and what nobody knows. */
  readonly quarantined: { readonly files: number; readonly bytes: number };

  /** Marks a replica as led by this incarnation, durably before the first append's sync ends. */
  activate(replica: StoredReplica, baseOffset: Offset): void;

  /**
   * Takes one frame. It is durable when `durableLength` covers it: see {@link onDurable}.
   * Throws OperatingError RESOURCE_EXHAUSTED (too many unflushed bytes) or DISK_FULL; then nothing
   * was taken.
   */
  append(replica: StoredReplica, frame: FrameToAppend): void;

  /**
   * Called once per completed group with the replicas whose `durableLength` has grown. Set once,
   * before the first append.
   */
  onDurable: (replicas: readonly StoredReplica[]) => void;
  /** Called when a replica is found damaged, in the middle of whatever found it. */
  onDamaged: (replica: StoredReplica) => void;

  /** Raises `fencedEpoch` at once, and resolves when that and everything accepted before is durable. */
  fence(items: readonly { replica: StoredReplica; epoch: Epoch }[]): Promise<void>;

  /** Sets final lengths, cuts what lies beyond, and resolves when durable. */
  seal(items: readonly { replica: StoredReplica; length: number }[]): Promise<void>;

  /** Removes replicas, on explicit order only. */
  delete(segmentIds: readonly SegmentId[]): Promise<void>;

  /**
   * Frames from record index `fromIndex` (relative to the base) up to `limitIndex`, about
   * `bytesMax` bytes but at least one frame. Synchronous when everything is in memory, so that the
   * tail of a shard costs no promise; such frames are views for the current call: whoever keeps them
   * copies them. Rejects or throws DAMAGED when a checksum fails.
   */
  read(
    replica: StoredReplica,
    range: { fromIndex: number; limitIndex: number; bytesMax: number },
  ): StorageRead | Promise<StorageRead>;

  /** Index of the first frame that holds a record with a time stamp of at least `timestampMs`. */
  indexByTime(replica: StoredReplica, timestampMs: number): Promise<number | undefined>;

  /**
   * Calls `visit` for every frame of a replica in order, to fold producer state. A frame is a view for
   * that call.
   * `fromLastSnapshot` begins at the last producer snapshot, if there is one.
   */
  scan(
    replica: StoredReplica,
    options: { fromLastSnapshot: boolean },
    visit: (frame: Buffer) => void,
  ): Promise<void>;

  /** Resolves when everything accepted is durable. */
  sync(): Promise<void>;

  /** What failed its checks since the start. */
  readonly damages: Damages;
  /** How far sealed replicas were read again: each within `scrubPeriodMs`. */
  readonly scrub: ScrubProgress;
  /** Begins to read all of them now, as fast as may be, unless it does so already. */
  beginScrub(): void;

  readonly stats: StorageStats;
}

export interface StorageStats {
  /** Bytes in the log that are not yet in segment files. */
  readonly unflushedBytes: number;
  readonly freeBytes: number;
  /** Appends are refused for lack of space. */
  readonly readOnly: boolean;
  /** Time since the last completed sync while one is wanted, ms; 0 when none is wanted. */
  readonly syncAgeMs: number;
  /** Syncs completed, and the sum of their durations in ms. */
  readonly syncs: number;
  readonly syncMsSum: number;
  readonly walBytesWritten: number;
  readonly segmentBytesWritten: number;
}
