import { OperatingError } from '@robustmq/core';

/** The error for bytes that break their own lengths or rules. `what` says which rule and the value found. */
export function corruptBatch(what: string): OperatingError {
  return new OperatingError('CORRUPT_BATCH', `corrupt record batch: ${what}; skip the whole batch`);
}
