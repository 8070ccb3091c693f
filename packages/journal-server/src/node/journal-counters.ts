import type { ErrorCode } from '@robustmq/core';

/** Plain numbers, counted on the hot path and read when metrics are asked for. */
export class JournalCounters {
  appends = 0;
  appendedRecords = 0;
  appendedBytes = 0;
  duplicates = 0;
  readBytes = 0;
  tailBytes = 0;
  rolls = 0;
  readonly refusals = new Map<ErrorCode, number>();

  refused(code: ErrorCode): void {
    this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
  }
}
