import type { ErrorCode } from '@robustmq/core';
import type { ClientUsage } from './client-usage.ts';
import type { JournalClientStats } from './journal-client.ts';

/** Counts what a client does, since it was made. */
export class ClientStats implements JournalClientStats {
  readonly #usage: ClientUsage;
  readonly retries: Partial<Record<ErrorCode, number>> = {};
  appendedRecords = 0;
  appendedBatches = 0;

  constructor(usage: ClientUsage) {
    this.#usage = usage;
  }

  get inFlightBytes(): number {
    return this.#usage.bytes;
  }

  countRetry(code: ErrorCode): void {
    this.retries[code] = (this.retries[code] ?? 0) + 1;
  }

  countAppended(records: number): void {
    this.appendedBatches++;
    this.appendedRecords += records;
  }
}
