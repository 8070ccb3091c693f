import type { Epoch, Incarnation, Offset, SegmentId } from '@robustmq/core';
import { epoch } from '@robustmq/core';
import { FrameTable } from './frame-table.ts';
import { segmentIdBytes } from './manifest.ts';
import { segmentPath } from './segment-file.ts';
import type { Slab } from './slab.ts';
import { SparseIndex } from './sparse-index.ts';
import type { ReplicaManifest, StoredReplica } from './storage.ts';
import type { Group } from './wal/group.ts';

/** How far a replica has come in its segment file, always at a frame's end. */
export interface Mark {
  readonly records: number;
  readonly bytes: number;
  /** Chain after the last frame before the mark. */
  readonly chain: number;
}

export const START: Mark = { records: 0, bytes: 0, chain: 0 };

/** Lsn of a replica that has nothing to sync. */
export const NOTHING = Number.POSITIVE_INFINITY;

/** One replica with what only the storage needs to know. Nobody else writes its fields. */
export class Replica implements StoredReplica {
  readonly manifest: ReplicaManifest;
  /** Names it in the log, in checkpoints and as a file: its segment's id, but for a copy beside a damaged one. */
  readonly fileId: SegmentId;
  readonly idBytes: Buffer;
  baseOffset: Offset | undefined = undefined;
  length = 0;
  durableLength = 0;
  chain = 0;
  fencedEpoch: Epoch = epoch(0);
  sealedLength: number | undefined = undefined;
  isCopying = false;
  damaged = false;
  activatedBy: Incarnation | undefined = undefined;
  sizeBytes = 0;
  maxTimestampMs = 0;
  firstAppendMs = 0;

  /** Bytes of all frames that a sync of the log covers. */
  durableBytes = 0;
  /** In the segment file, perhaps not synced there. Invariant: synced <= written <= durable <= length. */
  written: Mark = START;
  /** Synced in the segment file: what a checkpoint claims. */
  synced: Mark = START;
  /** Group of the first frame beyond `synced`, or one before it: its log file has to stay. */
  firstUnsyncedLsn: number = NOTHING;
  /** Byte position of the last producer snapshot; -1 when there is none or nobody knows. */
  lastSnapshotBytes = -1;
  memory = new FrameTable();
  /** Covers exactly `written`; undefined while nobody needs it after a start. */
  index: SparseIndex | undefined = new SparseIndex();
  /** The segment file ends with a footer. */
  hasFooter = false;
  /** A seal has cut it, and its file is still as it was: the seal is not durable yet. */
  isCutPending = false;
  isDeleted = false;
  /** The file's name is durable in its folder. */
  isNamed = false;

  /** Group that accepts records now and has this replica among its own. */
  group: Group | undefined = undefined;
  /** Newest slab that has it in its list. */
  slab: Slab | undefined = undefined;
  /** Work on its file, one after the other. */
  fileWork: Promise<void> = Promise.resolve();
  isFlushQueued = false;

  /** The damaged replica of the same segment whose place it takes with the record that seals it. */
  replaces: Replica | undefined = undefined;
  /** That record is on its way: what this one is told is told to the other one. */
  replacedBy: Replica | undefined = undefined;

  constructor(manifest: ReplicaManifest, fileId: SegmentId = manifest.segmentId) {
    this.manifest = manifest;
    this.fileId = fileId;
    this.idBytes = segmentIdBytes(fileId);
  }

  /** Of its file, in the data folder. */
  get path(): string {
    return segmentPath(this.fileId);
  }

  /** Bytes that only memory and the log hold. */
  get unwrittenBytes(): number {
    return this.sizeBytes - this.written.bytes;
  }

  get isSealed(): boolean {
    return this.sealedLength !== undefined;
  }

  /** Begins with what the segment file holds, as a checkpoint says. */
  restoreSynced(mark: Mark): void {
    this.synced = mark;
    this.written = mark;
    this.length = mark.records;
    this.durableLength = mark.records;
    this.sizeBytes = mark.bytes;
    this.durableBytes = mark.bytes;
    this.chain = mark.chain;
    this.isNamed = mark.bytes > 0;
    if (mark.bytes === 0) return;
    this.index = undefined;
    this.memory = new FrameTable(1);
  }

  /** Sealed with everything that belongs to it. */
  get isComplete(): boolean {
    return this.sealedLength !== undefined && this.length >= this.sealedLength;
  }
}
