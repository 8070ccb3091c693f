import { silentLogger } from '@robustmq/core';
import { ReplicaSummary } from '@robustmq/rpc';
import { MemoryMetadataStore } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';
import { Image } from './image.ts';
import { InventoryCheck } from './inventory-check.ts';

/** Compares what a journal tells, answer by answer, with a placement that knows no chain. */
async function abandonedAfter(...answers: ReplicaSummary[][]): Promise<string[]> {
  const abandoned: string[] = [];
  const check = new InventoryCheck({
    store: new MemoryMetadataStore(),
    image: new Image(),
    orders: { inventory: () => Promise.resolve(answers.shift() ?? []) },
    notices: { tell: () => Promise.resolve() },
    logger: silentLogger(),
    isPending: () => false,
    abandon: (segmentId) => abandoned.push(segmentId.toString('hex')),
    onUnknown: () => {},
  });
  await check.check('j1');
  return abandoned;
}

const prepared = ReplicaSummary.create({ segmentId: Buffer.alloc(16, 1), shardId: 1 });

describe('a replica that no chain shows', () => {
  it('and that was never used is deleted', async () => {
    expect(await abandonedAfter([prepared], [prepared])).toEqual([
      prepared.segmentId.toString('hex'),
    ]);
  });

  it.each([
    ['led', { baseKnown: true }],
    ['filled', { baseKnown: true, length: 7 }],
    ['sealed', { baseKnown: true, length: 7, sealed: true }],
  ])('and that was %s while the list was compared is kept', async (_, change) => {
    expect(await abandonedAfter([prepared], [{ ...prepared, ...change }])).toEqual([]);
  });

  it('and that is gone when the journal is asked again needs nothing', async () => {
    expect(await abandonedAfter([prepared], [])).toEqual([]);
  });
});
