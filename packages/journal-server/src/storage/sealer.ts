import { assert, OperatingError } from '@robustmq/core';
import type { Disk } from './disk.ts';
import type { Flusher } from './flusher.ts';
import { chainAt } from './frame-fields.ts';
import { type Mark, type Replica, START } from './replica.ts';
import { cutReplica } from './replica-change.ts';
import type { ReplicaReader } from './replica-reader.ts';
import type { StorageLimits } from './storage-options.ts';
import { fencePayload, recordType, sealPayload, swapPayload } from './wal/wal-record.ts';
import type { WalWriter } from './wal/wal-writer.ts';

export interface SealerOptions {
  readonly disk: Disk;
  readonly writer: WalWriter;
  readonly flusher: Flusher;
  readonly reads: ReplicaReader;
  readonly limits: StorageLimits;
  /** Bytes that have yet to go to segment files. */
  readonly debt: { bytes: number };
  /** A copy takes the place of a damaged replica: from now on a checkpoint has the copy alone. */
  readonly onSwapAccepted: (copy: Replica, damaged: Replica) => void;
  /** That is durable. */
  readonly onSwapped: (copy: Replica) => void;
}

/** Gives replicas their final lengths, and cuts what lies beyond. */
export class Sealer {
  readonly #options: SealerOptions;

  constructor(options: SealerOptions) {
    this.#options = options;
  }

  /** Resolves when durable. Throws INVALID_ARGUMENT when no batch ends at such a length. */
  async seal(items: readonly { replica: Replica; length: number }[]): Promise<void> {
    const cuts: Promise<void>[] = [];
    for (const { replica, length } of items) {
      if (replica.sealedLength === length) continue;
      assert(replica.sealedLength === undefined, 'a sealed length never changes');
      if (length < replica.length) cuts.push(this.#cut(replica, length));
      else this.#log(replica, length);
    }
    await Promise.all(cuts);
    await this.#sync();
    for (const { replica } of items) {
      if (replica.replaces !== undefined && !replica.isDeleted) this.#options.onSwapped(replica);
      this.settle(replica);
    }
  }

  /** The file is finished once it is worth it; a small one waits until its log file is emptied. */
  settle(replica: Replica): void {
    const { flusher, limits } = this.#options;
    const hasEnough = replica.unwrittenBytes >= limits.flushBytes;
    if (replica.hasFooter || replica.isDeleted || !replica.isComplete) return;
    if (replica.written.bytes > 0 || hasEnough) flusher.request(replica);
  }

  #log(replica: Replica, sealedLength: number): void {
    assert(!replica.isCopying || replica.length >= sealedLength, 'a copy is sealed when complete');
    replica.sealedLength = sealedLength;
    replica.isCopying = false;
    const { length, sizeBytes: bytes, chain, replaces } = replica;
    const seal = { sealedLength, length, bytes, chain };
    const { writer } = this.#options;
    if (replaces === undefined) {
      writer.control(recordType.seal, replica, sealPayload(seal));
      return;
    }
    // What the damaged one was fenced with holds on, in the same group.
    if (replaces.fencedEpoch > replica.fencedEpoch) {
      replica.fencedEpoch = replaces.fencedEpoch;
      writer.control(recordType.fence, replica, fencePayload(replica.fencedEpoch, length));
    }
    writer.control(recordType.swap, replica, swapPayload(seal, replaces.idBytes));
    this.#options.onSwapAccepted(replica, replaces);
  }

  async #cut(replica: Replica, length: number): Promise<void> {
    const { flusher, debt } = this.#options;
    // No group in flight may still raise what the cut lowers.
    await this.#sync();
    const mark = await this.#markAt(replica, length);
    await flusher.onFile(replica, async () => {
      const before = replica.unwrittenBytes;
      replica.isCutPending = replica.written.bytes > mark.bytes;
      cutReplica(replica, mark);
      debt.bytes += replica.unwrittenBytes - before;
      this.#log(replica, length);
    });
    if (replica.sealedLength !== length) {
      throw new OperatingError('UNAVAILABLE', 'the storage ended, or the segment was deleted');
    }
    await this.#sync();
    // Only now: until the seal is durable, the log would ask for the bytes.
    if (replica.isCutPending) await this.#cutFile(replica);
  }

  #cutFile(replica: Replica): Promise<void> {
    const { disk, flusher } = this.#options;
    return flusher.onFile(replica, async () => {
      const file = await disk.open(replica.path, 'write');
      try {
        await file.truncate(replica.written.bytes);
      } finally {
        await file.close();
      }
      replica.isCutPending = false;
    });
  }

  /** Where the first `length` records end. */
  async #markAt(replica: Replica, length: number): Promise<Mark> {
    let mark = START;
    await this.#options.reads.walk(replica, (frame, index, records) => {
      if (index + records > length) return false;
      const chain = chainAt(frame, 0);
      mark = { records: index + records, bytes: mark.bytes + frame.length, chain };
      return true;
    });
    if (mark.records === length) return mark;
    throw new OperatingError(
      'INVALID_ARGUMENT',
      `segment ${replica.manifest.segmentId} cannot end at record ${length}: no batch ends there`,
    );
  }

  #sync(): Promise<void> {
    return new Promise((resolve) => this.#options.writer.whenDurable(resolve));
  }
}
