export type {
  AckLevel,
  BatchAppended,
  BatchListener,
  BatchToAppend,
  JournalClient,
  JournalClientStats,
  PendingBatch,
  ReadOptions,
  ReadResult,
  RecordAppender,
  RecordToAppend,
  Tail,
  TailHandlers,
} from './journal-client.ts';
export type { JournalPlacement } from './client-context.ts';
export { type ClientLimits, defaultClientLimits } from './client-limits.ts';
export { createJournalClient, type JournalClientOptions } from './create-journal-client.ts';
