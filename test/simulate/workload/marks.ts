import { FrameCursor, recordsOf } from '@robustmq/record-batch';
import type { Mark, ShardHistory } from './shard-history.ts';

const longest = 24 + 700;
const filling = Buffer.alloc(longest, '.');
const scratch = Buffer.alloc(longest);

/** A value that says whose it is; its length and filling follow from that. */
export function valueOf(mark: Mark): Buffer {
  return Buffer.from(writeValue(mark));
}

/** Into memory that the next call uses again. */
function writeValue({ writer, sequence }: Mark): Buffer {
  const headBytes = scratch.write(`${writer} ${sequence} `, 'latin1');
  const bytes = Math.max(headBytes, 24 + ((sequence * 7919) % 700));
  filling.copy(scratch, headBytes, headBytes, bytes);
  return scratch.subarray(0, bytes);
}

function markOf(value: Buffer): Mark | undefined {
  const [writer = '', digits = ''] = value.toString('latin1', 0, 40).split(' ', 2);
  const mark = { writer, sequence: Number(digits) };
  return Number.isSafeInteger(mark.sequence) && writeValue(mark).equals(value) ? mark : undefined;
}

/** Tells the history what frames hold from `from` on, which has to be all up to `next`. */
export function seeFrames(history: ShardHistory, frames: Buffer, from: number, next: number): void {
  const cursor = new FrameCursor();
  cursor.reset(frames);
  let expected = from;
  while (cursor.next() === 'frame') {
    if (cursor.kind !== 'batch') continue;
    for (const { offset, value } of recordsOf(frames, cursor.payloadStart)) {
      if (offset < from) continue;
      if (offset !== expected) history.wrong(`read ${offset} behind ${expected - 1}`);
      expected = offset + 1;
      const mark =
        value === null
          ? undefined
          : markOf(Buffer.from(value.buffer, value.byteOffset, value.length));
      if (mark === undefined) history.wrong(`nobody wrote what was read at ${offset}`);
      else history.see(mark, offset, 'read');
    }
  }
  if (cursor.fault !== undefined) history.wrong(`a frame is ${cursor.fault}`);
  if (expected !== next) history.wrong(`read from ${from}: told ${next}, got ${expected}`);
}
