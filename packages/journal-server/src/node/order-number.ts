import { OperatingError } from '@robustmq/core';
import type { Authority, LeftoverOrder } from '@robustmq/rpc';

/**
 * The highest number of an order that was seen of the placement that decides. Orders of older placements are
 * refused by their epoch, those to an earlier life of this journal by its incarnation.
 */
export class OrderNumber {
  #placementEpoch = 0;
  #highest = 0;

  note(authority: Authority | undefined, order: number): void {
    const placementEpoch = authority?.placementEpoch ?? 0;
    if (placementEpoch !== this.#placementEpoch) this.#highest = 0;
    this.#placementEpoch = placementEpoch;
    this.#highest = Math.max(this.#highest, order);
  }

  /** Throws CONFLICT for an order to delete leftovers that was overtaken. */
  check(authority: Authority | undefined, leftover: LeftoverOrder, incarnation: number): void {
    const { order } = leftover;
    const isNewest = authority?.placementEpoch !== this.#placementEpoch || order > this.#highest;
    if (isNewest && leftover.incarnation === incarnation) {
      this.note(authority, order);
      return;
    }
    const message = `the order ${order} to delete leftovers of incarnation ${leftover.incarnation} comes too late`;
    throw new OperatingError('CONFLICT', message);
  }
}
