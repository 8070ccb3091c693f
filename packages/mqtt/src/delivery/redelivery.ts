import type { ShardId } from '@robustmq/core';
import { OperatingError, offset } from '@robustmq/core';
import type { DecodedBatch, LogReader } from '@robustmq/kernel';
import type { RecordCursor } from '@robustmq/record-batch';

import type { WindowEntry } from '../session/session-gateway.ts';

type Encode = (cursor: RecordCursor, batch: DecodedBatch, entry: WindowEntry) => Buffer | undefined;

/**
 * Reads the messages of a window again from the log; the packets by packet id. What is not there any
 * more (trimmed), or cannot be read now, is missing.
 */
export async function readWindow(
  log: LogReader,
  entries: readonly WindowEntry[],
  encode: Encode,
): Promise<Map<number, Buffer>> {
  const packets = new Map<number, Buffer>();
  const byShard = new Map<ShardId, Map<number, WindowEntry>>();
  for (const entry of entries) {
    if (entry.state !== 'sent') continue;
    let wanted = byShard.get(entry.shardId);
    if (wanted === undefined) byShard.set(entry.shardId, (wanted = new Map()));
    wanted.set(entry.offset, entry);
  }
  for (const [shardId, wanted] of byShard) await readShard(log, shardId, wanted, encode, packets);
  return packets;
}

async function readShard(
  log: LogReader,
  shardId: ShardId,
  wanted: Map<number, WindowEntry>,
  encode: Encode,
  packets: Map<number, Buffer>,
): Promise<void> {
  while (wanted.size > 0) {
    const from = Math.min(...wanted.keys());
    const visit = (batch: DecodedBatch): boolean => {
      const { cursor } = batch;
      while (cursor.next()) {
        const entry = wanted.get(batch.baseOffset + cursor.offsetDelta);
        if (entry === undefined) continue;
        wanted.delete(entry.offset);
        const packet = encode(cursor, batch, entry);
        if (packet !== undefined) packets.set(entry.packetId, packet);
      }
      return true;
    };
    try {
      const step = await log.read(shardId, { fromOffset: offset(from) }, visit);
      for (const at of wanted.keys()) if (at < step.nextOffset) wanted.delete(at);
      if (step.nextOffset <= from) return;
    } catch (thrown) {
      if (!isGone(thrown)) throw thrown;
      // Trimmed: the entry is finished without it; the client asks for nothing.
      wanted.delete(from);
    }
  }
}

function isGone(thrown: unknown): boolean {
  if (!(thrown instanceof OperatingError)) return false;
  return thrown.code === 'OFFSET_OUT_OF_RANGE' || thrown.code === 'NOT_FOUND';
}
