import { FrameCursor, recordsOf } from '@robustmq/record-batch';

import { parseValue } from './record-value.ts';
import type { Place, ShardHistory } from './shard-history.ts';

/**
 * Tells the history what frames hold from `from` on; they have to hold every offset up to `next`, since
 * nobody filters here. `parse` tells whose value it is; undefined when nobody can have written it.
 */
export function seeFrames(
  history: ShardHistory,
  frames: Buffer,
  range: { from: number; next: number; how: string },
  parse: (value: Buffer) => Place | undefined = parseValue,
): void {
  const { from, next, how } = range;
  const cursor = new FrameCursor();
  cursor.reset(frames);
  let expected = from;
  while (cursor.next() === 'frame') {
    if (cursor.kind !== 'batch') continue;
    for (const { offset, value } of recordsOf(frames, cursor.payloadStart)) {
      if (offset < from) continue;
      if (offset !== expected)
        history.report('gap', `${how}: offset ${offset} follows ${expected - 1}`);
      expected = offset + 1;
      const place = parse(value ?? Buffer.alloc(0));
      if (place === undefined)
        history.report('changed', `${how}: nobody wrote what stands at ${offset}`);
      else history.see(place, offset, how);
    }
  }
  if (cursor.fault !== undefined) history.report('changed', `${how}: a frame is ${cursor.fault}`);
  if (expected !== next)
    history.report('gap', `${how}: asked from ${from}, told ${next}, got ${expected}`);
}
