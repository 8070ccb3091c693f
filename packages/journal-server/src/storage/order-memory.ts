import { OperatingError } from '@robustmq/core';

/** What somebody's orders have shown: his instance, and the revision of his last change. */
export interface Shown {
  /** 16 bytes of its own. */
  readonly instance: Buffer;
  readonly revision: number;
}

/** Who orders, with what his store had when he began. */
export interface Orderer extends Shown {
  readonly startRevision: number;
  /** The first bytes of those who had decided with it, oldest first. */
  readonly lineage: readonly Buffer[];
}

/**
 * What the orders of placements have shown of their stores, in memory only: copies of the catalog follow
 * within seconds.
 */
export class OrderMemory {
  #last: Shown | undefined;

  /**
   * Throws OLD_STORE when another placement has shown more, in an order or by the copy that it left here, than
   * the one who orders can know: not even the epoch tells a placement from one that was started on an old copy
   * of its store, each gives the next one.
   */
  note(by: Orderer, copy: Shown | undefined): void {
    const { instance, startRevision, revision } = by;
    for (const known of [copy, this.#last]) {
      if (known !== undefined && !descends(by, known)) throw oldCopy(startRevision, known.revision);
    }
    const own = this.#last?.instance.equals(instance) === true ? this.#last : undefined;
    const before = own?.revision ?? startRevision;
    const kept = own?.instance ?? Buffer.from(instance);
    this.#last = { instance: kept, revision: Math.max(before, revision) };
  }
}

/** With so many in it a lineage may have lost its begin. */
const lineageFull = 128;
/** No placement makes so many changes unseen: a store that begins as far above was rebuilt. */
const rebuiltAbove = 500_000_000;

/** Whether a store has all that is known of another placement that has decided. */
function descends({ instance, startRevision, lineage }: Orderer, known: Shown): boolean {
  if (known.instance.equals(instance)) return true;
  if (startRevision < known.revision) return false;
  if (startRevision >= known.revision + rebuiltAbove || lineage.length >= lineageFull) return true;
  return lineage.some((one) => one.equals(known.instance.subarray(0, one.length)));
}

/** The refusal of who began with less than is known here. */
export function oldCopy(startRevision: number, known: number): OperatingError {
  const message = `placement began with its store at revision ${startRevision}, and this journal has orders of revision ${known} that its store does not know: its data folder is an old copy`;
  return new OperatingError('OLD_STORE', message);
}
