import { encodeFrame, FIRST_CHAIN, RecordBatchWriter } from '@robustmq/record-batch';
import { describe, expect, it } from 'vitest';

import { seeFrames } from './frame-check.ts';
import { parseValue, valueOf } from './record-value.ts';
import { ShardHistory } from './shard-history.ts';
import { Violations } from './violations.ts';

/** One frame with the values of these sequences of `w`, from `baseOffset` on. */
function frameOf(baseOffset: number, ...values: Buffer[]): Buffer {
  const writer = new RecordBatchWriter();
  for (const value of values) writer.append(1, null, value);
  const batch = Buffer.from(writer.finish());
  const stamp = { epoch: 1, writerEpoch: 0, appendTimeMs: 1, previousChain: FIRST_CHAIN };
  const where = { control: 'none', baseOffset, filter: Buffer.alloc(0) } as const;
  const { header } = encodeFrame({ ...stamp, ...where, batch });
  return Buffer.concat([header, batch]);
}

/** What is said about frames that were read from offset 0 and end before `next`, as the reader was told. */
function saidOf(next: number, ...frames: Buffer[]): readonly string[] {
  const violations = new Violations();
  const history = new ShardHistory(7, violations);
  for (let count = 0; count < 4; count++) history.sending('w');
  seeFrames(history, Buffer.concat(frames), { from: 0, next, how: 'read' });
  return violations.list();
}

const w = (sequence: number): Buffer => valueOf('w', sequence);

describe('frames that were read', () => {
  it('are right when they hold all up to the end that was told', () => {
    expect(saidOf(3, frameOf(0, w(0), w(1)), frameOf(2, w(2)))).toEqual([]);
  });

  it.each([
    [
      'a gap between frames',
      'gap',
      'offset 3 follows 1',
      4,
      [frameOf(0, w(0), w(1)), frameOf(3, w(3))],
    ],
    ['a gap at the begin', 'gap', 'offset 1 follows -1', 2, [frameOf(1, w(1))]],
    ['too few', 'gap', 'told 3, got 2', 3, [frameOf(0, w(0), w(1))]],
    ['what nobody wrote', 'changed', 'nobody wrote', 1, [frameOf(0, Buffer.from('w 0 ?'))]],
    ['what nobody sent', 'uncommitted', 'w/9 was never sent', 1, [frameOf(0, w(9))]],
    ['a record again', 'duplicated', 'w/0 stands at 0 and at 1', 2, [frameOf(0, w(0), w(0))]],
    ['half a frame', 'changed', 'a frame is', 0, [frameOf(0, w(0)).subarray(0, 40)]],
  ] as const)('show %s', (_, kind, words, next, frames) => {
    expect(saidOf(next, ...frames).join('\n')).toMatch(new RegExp(`^${kind}: .*${words}`, 'm'));
  });

  it('show a changed bit of a value', () => {
    const frame = frameOf(0, w(0));
    frame.writeUInt8(frame.readUInt8(frame.length - 2) ^ 1, frame.length - 2);
    expect(saidOf(1, frame).join('\n')).toMatch(/^changed: /m);
  });
});

it('a value tells its writer, and damage shows', () => {
  const value = valueOf('writer-1-own', 41);
  expect(parseValue(value)).toEqual({ writer: 'writer-1-own', sequence: 41 });
  value[value.length - 1] = 1;
  expect(parseValue(value)).toBeUndefined();
});
