import { seeFrames as seeAll } from '../../history/frame-check.ts';
import type { Place, ShardHistory } from '../../history/shard-history.ts';

const usually = 700;
/** Each so many records is a large one, whose block in the log has several sectors. */
const largeEach = 16;
const largeMore = 4_500;
const longest = 24 + usually + largeMore;
const filling = Buffer.alloc(longest, '.');
const scratch = Buffer.alloc(longest);

/** A value that says whose it is; its length and filling follow from that. */
export function valueOf(place: Place): Buffer {
  return Buffer.from(writeValue(place));
}

/** Into memory that the next call uses again. */
function writeValue({ writer, sequence }: Place): Buffer {
  const headBytes = scratch.write(`${writer} ${sequence} `, 'latin1');
  const more = sequence % largeEach === 7 ? largeMore : 0;
  const bytes = Math.max(headBytes, 24 + ((sequence * 7919) % usually) + more);
  filling.copy(scratch, headBytes, headBytes, bytes);
  return scratch.subarray(0, bytes);
}

function placeOf(value: Buffer): Place | undefined {
  const [writer = '', digits = ''] = value.toString('latin1', 0, 40).split(' ', 2);
  const place = { writer, sequence: Number(digits) };
  return Number.isSafeInteger(place.sequence) && writeValue(place).equals(value)
    ? place
    : undefined;
}

/** Tells the history what frames hold from `from` on, which has to be all up to `next`. */
export function seeFrames(history: ShardHistory, frames: Buffer, from: number, next: number): void {
  seeAll(history, frames, { from, next, how: 'read' }, placeOf);
}
