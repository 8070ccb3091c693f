import { epoch, type Logger, type SegmentId } from '@robustmq/core';
import type { StoredCheckpoint } from './checkpoint.ts';
import { Replica } from './replica.ts';
import { cutReplica, noteFrame } from './replica-change.ts';
import type { SlabPool } from './slab.ts';
import type { ReplicaManifest } from './storage.ts';
import type { FoundBlock, LostGroups } from './wal/wal-scan.ts';
import {
  APPEND_PREFIX_BYTES,
  type SealFields,
  visitRecords,
  type WalRecord,
} from './wal/wal-record.ts';

type Of<K extends WalRecord['kind']> = Extract<WalRecord, { kind: K }>;

/**
 * Brings the replicas of a checkpoint up to date with the log behind it. Records that the checkpoint
 * already knows change nothing. What cannot be accounted for makes a replica damaged, never shorter.
 */
export class Replay {
  /** By their names in the log, as everything here. */
  readonly replicas = new Map<SegmentId, Replica>();
  /** Removed by the log: their files have to go, again perhaps. */
  readonly deleted = new Set<SegmentId>();
  /** Replaced by a copy: their files are kept aside. By file, the segment. */
  readonly replaced = new Map<SegmentId, SegmentId>();
  /** Anything that the next checkpoint has to hold although the log does not. */
  hasFindings = false;
  readonly #checkpoint: StoredCheckpoint;
  readonly #slabs: SlabPool;
  readonly #logger: Logger;
  /** Bytes that a finally sealed replica has; frames beyond were cut before the checkpoint. */
  readonly #finalBytes = new Map<Replica, number>();
  /** Whether records of these were lost is not known yet. */
  readonly #suspects = new Set<Replica>();
  readonly #unknown = new Set<SegmentId>();

  constructor(checkpoint: StoredCheckpoint, slabs: SlabPool, logger: Logger) {
    this.#checkpoint = checkpoint;
    this.#slabs = slabs;
    this.#logger = logger;
    checkpoint.replicas.forEach((replica, at) => {
      this.replicas.set(replica.fileId, replica);
      const { length, bytes } = checkpoint.lengths[at] ?? { length: 0, bytes: 0 };
      if (replica.sealedLength !== undefined && length >= replica.sealedLength) {
        this.#finalBytes.set(replica, bytes);
      }
    });
  }

  block(found: FoundBlock): void {
    const { lsn } = found.header;
    visitRecords(found.source, found.start, found.end, (record) => {
      this.#apply(record, found.source, lsn);
    });
  }

  #apply(record: WalRecord, source: Buffer, lsn: number): void {
    if (record.kind === 'create' || record.kind === 'copyBegin') {
      return this.#create(record.manifest, record.manifest.segmentId, record.kind === 'copyBegin');
    }
    if (record.kind === 'rebuildBegin') {
      return this.#create(record.manifest, record.segmentId, true);
    }
    const replica = this.replicas.get(record.segmentId);
    if (replica === undefined) {
      // Deleted before the checkpoint, with the order still ahead in the log; or its manifest is lost.
      this.#unknown.add(record.segmentId);
      if (record.kind === 'delete') this.#delete(record.segmentId, undefined);
      return;
    }
    switch (record.kind) {
      case 'append':
        return this.#append(replica, record, source, lsn);
      case 'fence':
        if (record.epoch > replica.fencedEpoch) replica.fencedEpoch = record.epoch;
        return this.#compare(replica, record.length, 'a fence');
      case 'activated':
        replica.activatedBy = record.incarnation;
        replica.baseOffset = record.baseOffset;
        return;
      case 'seal':
        return this.#seal(replica, record);
      case 'swap':
        return this.#swap(replica, record);
      case 'delete':
        return this.#delete(record.segmentId, replica);
      case 'damaged':
        replica.damaged = true;
    }
  }

  #create(manifest: ReplicaManifest, fileId: SegmentId, isCopying: boolean): void {
    if (this.replicas.has(fileId)) return;
    const replica = new Replica(manifest, fileId);
    replica.isCopying = isCopying;
    this.replicas.set(fileId, replica);
    // A copy follows a replica that was deleted; the file of that one was gone before this began.
    this.deleted.delete(fileId);
    this.replaced.delete(fileId);
  }

  #swap(copy: Replica, record: Of<'swap'>): void {
    this.#seal(copy, record);
    const { replacedId } = record;
    const damaged = this.replicas.get(replacedId);
    if (damaged !== undefined) {
      damaged.isDeleted = true;
      damaged.memory.cut(0);
    }
    this.replicas.delete(replacedId);
    this.replaced.set(replacedId, copy.manifest.segmentId);
    this.#unknown.delete(replacedId);
  }

  #delete(id: SegmentId, replica: Replica | undefined): void {
    if (replica !== undefined) {
      replica.isDeleted = true;
      replica.memory.cut(0);
    }
    this.replicas.delete(id);
    this.deleted.add(id);
    this.replaced.delete(id);
    this.#unknown.delete(id);
  }

  #append(replica: Replica, record: Of<'append'>, source: Buffer, lsn: number): void {
    const { fields, frameStart, frameEnd } = record;
    const end = fields.position + (frameEnd - frameStart);
    if (end <= replica.sizeBytes) return;
    if (end > (this.#finalBytes.get(replica) ?? end)) return;
    if (fields.position !== replica.sizeBytes) {
      this.damage(replica, `bytes ${replica.sizeBytes} to ${fields.position} are missing`);
      return;
    }
    if (fields.index !== replica.length) {
      this.damage(replica, `record ${fields.index} follows record ${replica.length}`);
      return;
    }
    this.#suspects.delete(replica);
    this.#take(replica, record, source, lsn);
  }

  #take(replica: Replica, record: Of<'append'>, source: Buffer, lsn: number): void {
    const { fields, frameStart, frameEnd } = record;
    const slab = this.#slabs.withRoom(frameEnd - frameStart + APPEND_PREFIX_BYTES);
    slab.beginGroup(lsn);
    const { buffer } = slab;
    if (buffer === undefined) return;
    source.copy(buffer, slab.used, frameStart - APPEND_PREFIX_BYTES, frameEnd);
    const position = slab.used + APPEND_PREFIX_BYTES;
    slab.used = position + (frameEnd - frameStart);
    if (replica.slab !== slab) {
      replica.slab = slab;
      slab.replicas.push(replica);
    }
    replica.memory.push(fields.index, slab, position);
    if (lsn < replica.firstUnsyncedLsn) replica.firstUnsyncedLsn = lsn;
    noteFrame(replica, buffer, position, fields);
    replica.durableLength = replica.length;
    replica.durableBytes = replica.sizeBytes;
  }

  #seal(replica: Replica, record: SealFields): void {
    this.#compareBytes(replica, record);
    replica.sealedLength = record.sealedLength;
    replica.isCopying = false;
    if (replica.damaged) return;
    if (replica.sizeBytes > record.bytes) {
      cutReplica(replica, { records: record.length, bytes: record.bytes, chain: record.chain });
    } else if (replica.chain !== record.chain) {
      this.damage(replica, 'its chain is not the one that was sealed');
    }
    if (record.length >= record.sealedLength) this.#finalBytes.set(replica, record.bytes);
  }

  #compareBytes(replica: Replica, record: SealFields): void {
    if (replica.sizeBytes < record.bytes) {
      this.damage(replica, `it has ${replica.sizeBytes} of ${record.bytes} bytes that were sealed`);
    }
    this.#suspects.delete(replica);
  }

  /** A record that names the replica's length then: proof that nothing was lost, or that it was. */
  #compare(replica: Replica, length: number, what: string): void {
    // Of a finally sealed one the checkpoint knows the length, after a cut perhaps.
    if (this.#finalBytes.has(replica)) return;
    if (replica.length < length) {
      this.damage(replica, `${what} found ${length} records, there are ${replica.length}`);
    }
    this.#suspects.delete(replica);
  }

  lost({ fromLsn, toLsn }: LostGroups): void {
    this.#logger.error(
      { fromLsn, toLsn: toLsn - 1 },
      'log blocks that were durable cannot be read: replicas that may have lost records are damaged',
    );
    this.hasFindings = true;
    // The checkpoint knows all that these groups did, but for frames; those are counted at the end.
    if (toLsn <= this.#checkpoint.startLsn) return;
    for (const replica of this.replicas.values()) {
      if (replica.isSealed) continue;
      this.#suspects.add(replica);
      // A fence may be among what was lost, and must not be open again.
      const closed = epoch(replica.manifest.epoch + 1);
      if (replica.fencedEpoch < closed) replica.fencedEpoch = closed;
    }
  }

  finish(): void {
    for (const replica of this.#suspects) {
      if (this.replicas.has(replica.fileId)) {
        this.damage(replica, 'nothing proves that it lost no records');
      }
    }
    this.#checkpoint.replicas.forEach((replica, at) => {
      const known = this.#checkpoint.lengths[at]?.bytes ?? 0;
      if (replica.isDeleted || replica.isSealed || replica.sizeBytes >= known) return;
      this.damage(replica, `it has ${replica.sizeBytes} of ${known} bytes`);
    });
    for (const [replica, bytes] of this.#finalBytes) {
      if (replica.isDeleted || replica.sizeBytes >= bytes) continue;
      this.damage(replica, `it has ${replica.sizeBytes} of ${bytes} bytes that were sealed`);
    }
    if (this.#unknown.size > 0) {
      this.#logger.warn(
        { segments: [...this.#unknown].slice(0, 10), count: this.#unknown.size },
        'the log has records of segments whose manifests are lost; they count as unknown',
      );
    }
  }

  damage(replica: Replica, reason: string): void {
    if (replica.damaged) return;
    replica.damaged = true;
    this.hasFindings = true;
    const segment = replica.manifest.segmentId;
    this.#logger.error({ segment, reason }, 'replica damaged: another one has to serve');
  }
}
