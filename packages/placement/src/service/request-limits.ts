import { OperatingError } from '@robustmq/core';

/** Items of one request, as the contract says. */
const itemsMax = 1_000;

/** Throws INVALID_ARGUMENT when a request has more than 1,000 of `what`. */
export function checkCount(items: readonly unknown[], what: string, max = itemsMax): void {
  if (items.length <= max) return;
  const message = `a request has at most ${max} ${what}, not ${items.length}`;
  throw new OperatingError('INVALID_ARGUMENT', message);
}
