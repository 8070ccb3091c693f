import type { Offset, OperatingError, ShardId } from '@robustmq/core';
import type { RecordToAppend } from '@robustmq/journal-client';

/**
 * What became of an entry: committed at that offset (undefined: committed, but the journal no longer
 * knows where), or refused for good.
 */
export type OutboxOutcome =
  | { readonly kind: 'committed'; readonly offset: Offset | undefined }
  | { readonly kind: 'refused'; readonly error: OperatingError };

/** One record that a state machine appends elsewhere. */
export interface OutboxEntry {
  /** The shard of the target partition. */
  readonly target: ShardId;
  /** Its time stamp comes from the machine's record: every owner builds the same bytes. */
  readonly record: Readonly<RecordToAppend>;
  /** By which the machine knows the entry again; at most 64 KiB. */
  readonly tag: Buffer;
}

/**
 * Appends to other shards, exactly once and in order per target, whatever dies (docs/design.md, 7.6).
 * Part of a state machine's state.
 */
export interface Outbox {
  /**
   * Adds an entry; bytes are copied. Part of the fold: called from `apply` only, with what the record
   * and the state say. It is sent once the record is committed.
   */
  enqueue(entry: OutboxEntry): void;
  /** Too much waits for its target: refuse commands that would add to it. */
  readonly full: boolean;
  /** Bytes that wait or are not confirmed. */
  readonly bytes: number;
}
