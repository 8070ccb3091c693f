import type { ShardId } from '@robustmq/core';
import { OperatingError, offset } from '@robustmq/core';
import type { DecodedBatch, LogReader } from '@robustmq/kernel';

import type { WindowEntry } from '../session/session-gateway.ts';

/** Takes the record on which the batch's cursor stands, for the entries that mean it. */
export type TakeAgain = (batch: DecodedBatch, entries: readonly WindowEntry[]) => void;

/**
 * Reads messages of a window again from the log. What is not there any more (trimmed) is not taken.
 * Rejects when a partition cannot be read now.
 */
export async function readWindow(
  log: LogReader,
  entries: readonly WindowEntry[],
  take: TakeAgain,
): Promise<void> {
  const byShard = new Map<ShardId, Map<number, WindowEntry[]>>();
  for (const entry of entries) {
    if (entry.state !== 'sent') continue;
    const wanted = byShard.get(entry.shardId) ?? new Map<number, WindowEntry[]>();
    byShard.set(entry.shardId, wanted);
    wanted.set(entry.offset, [...(wanted.get(entry.offset) ?? []), entry]);
  }
  for (const [shardId, wanted] of byShard) await readShard(log, shardId, wanted, take);
}

async function readShard(
  log: LogReader,
  shardId: ShardId,
  wanted: Map<number, WindowEntry[]>,
  take: TakeAgain,
): Promise<void> {
  const visit = (batch: DecodedBatch): boolean => {
    const { cursor } = batch;
    while (cursor.next()) {
      const at = batch.baseOffset + cursor.offsetDelta;
      const entries = wanted.get(at);
      if (entries === undefined) continue;
      wanted.delete(at);
      take(batch, entries);
    }
    return wanted.size > 0;
  };
  while (wanted.size > 0) {
    const from = Math.min(...wanted.keys());
    let passed: number;
    try {
      passed = (await log.read(shardId, { fromOffset: offset(from) }, visit)).nextOffset;
      if (passed <= from) return;
    } catch (thrown) {
      passed = earliestAfter(thrown, from);
    }
    // What reading has passed without finding it is not in the log any more.
    for (const at of wanted.keys()) if (at < passed) wanted.delete(at);
  }
}

/** Where the log begins when `from` is not in it any more; throws what means something else. */
function earliestAfter(thrown: unknown, from: number): number {
  if (!(thrown instanceof OperatingError)) throw thrown;
  if (thrown.code === 'NOT_FOUND') return Number.POSITIVE_INFINITY;
  if (thrown.code !== 'OFFSET_OUT_OF_RANGE') throw thrown;
  return Math.max(from + 1, thrown.hint.earliestOffset ?? 0);
}
