import { assert, type SegmentId } from '@robustmq/core';
import type { Replica } from './replica.ts';

/**
 * The replicas of a storage. A segment has one that is asked for, and while that is damaged, perhaps a copy
 * beside it that will take its place; each has a file of its own.
 */
export class ReplicaTable {
  /** All, by their files; shared with whoever looks at all of them. */
  readonly #byFile: Map<SegmentId, Replica>;
  /** Those that are asked for. */
  readonly #bySegment = new Map<SegmentId, Replica>();
  /** Copies that are made beside damaged ones. */
  readonly #rebuilds = new Map<SegmentId, Replica>();

  constructor(byFile: Map<SegmentId, Replica>) {
    this.#byFile = byFile;
  }

  /**
   * Finds out which of the replicas of one segment is which, after a start. A copy whose damaged replica is
   * there stands beside it; without one it is like any copy. Returns those that are none any more.
   */
  sort(): Replica[] {
    const beside: Replica[] = [];
    const replaced: Replica[] = [];
    for (const replica of this.#byFile.values()) {
      const { segmentId } = replica.manifest;
      const other = this.#bySegment.get(segmentId);
      if (replica.isCopying && replica.fileId !== segmentId) beside.push(replica);
      else if (other === undefined) this.#bySegment.set(segmentId, replica);
      else {
        // The log has lost the swap that a checkpoint knows: what was replaced is there again.
        const [kept, gone] = other.damaged ? [replica, other] : [other, replica];
        this.#bySegment.set(segmentId, kept);
        this.#byFile.delete(gone.fileId);
        replaced.push(gone);
      }
    }
    for (const copy of beside) {
      const { segmentId } = copy.manifest;
      copy.replaces = this.#bySegment.get(segmentId);
      if (copy.replaces === undefined) this.#bySegment.set(segmentId, copy);
      else this.#rebuilds.set(segmentId, copy);
    }
    return replaced;
  }

  /** The one that is asked for. */
  get(segmentId: SegmentId): Replica | undefined {
    return this.#bySegment.get(segmentId);
  }

  /** The copy beside a damaged one. */
  rebuildOf(segmentId: SegmentId): Replica | undefined {
    return this.#rebuilds.get(segmentId);
  }

  /** The copy that is not complete yet, wherever it stands. */
  copyOf(segmentId: SegmentId): Replica | undefined {
    const copy = this.#rebuilds.get(segmentId) ?? this.#bySegment.get(segmentId);
    return copy?.isCopying === true ? copy : undefined;
  }

  all(): Iterable<Replica> {
    return this.#byFile.values();
  }

  bySegment(): Iterable<Replica> {
    return this.#bySegment.values();
  }

  hasFile(fileId: SegmentId): boolean {
    return this.#byFile.has(fileId);
  }

  /** Whether a file or a segment has this name: a file is named for its segment, as a rule. */
  isNamed(fileId: SegmentId): boolean {
    return this.#byFile.has(fileId) || this.#bySegment.has(fileId);
  }

  add(replica: Replica): void {
    this.#byFile.set(replica.fileId, replica);
    const names = replica.replaces === undefined ? this.#bySegment : this.#rebuilds;
    names.set(replica.manifest.segmentId, replica);
  }

  remove(replica: Replica): void {
    const { segmentId } = replica.manifest;
    this.#byFile.delete(replica.fileId);
    for (const names of [this.#bySegment, this.#rebuilds]) {
      if (names.get(segmentId) === replica) names.delete(segmentId);
    }
  }

  /** The log has the swap from here on, though not durably yet. */
  swapAccepted(copy: Replica, damaged: Replica): void {
    this.#byFile.delete(damaged.fileId);
    damaged.replacedBy = copy;
  }

  /** The copy is the one that is asked for. Returns the one whose place it takes. */
  swap(copy: Replica): Replica {
    const { segmentId } = copy.manifest;
    const damaged = copy.replaces;
    assert(damaged !== undefined, 'it replaces one');
    copy.replaces = undefined;
    this.#rebuilds.delete(segmentId);
    this.#bySegment.set(segmentId, copy);
    return damaged;
  }
}
