import { silentLogger } from '@robustmq/core';
import { ReplicaSummary, Segment } from '@robustmq/rpc';
import { MemoryMetadataStore } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';
import { Image } from './image.ts';
import { InventoryCheck } from './inventory-check.ts';
import { segmentKey } from './keys.ts';

/** Compares what a journal tells, answer by answer, with a placement that knows no chain. */
function abandonedAfter(...answers: ReplicaSummary[][]): Promise<string[]> {
  return abandonedBy(new MemoryMetadataStore(), answers);
}

async function abandonedBy(
  store: MemoryMetadataStore,
  answers: ReplicaSummary[][],
): Promise<string[]> {
  const abandoned: string[] = [];
  const check = new InventoryCheck({
    store,
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

  it('but an older row of its chain names is kept, although it never got a frame', async () => {
    const store = new MemoryMetadataStore();
    for (let at = 1; at <= 1_001; at++) {
      const segmentId = at === 1_001 ? prepared.segmentId : Buffer.alloc(16, 2);
      const value = Segment.encode(Segment.create({ segmentId, shardId: 1, endOffset: at }));
      const row = { key: segmentKey(1, at, segmentId), value: Buffer.from(value.finish()) };
      await store.transact([], [{ kind: 'put', ...row }]);
    }
    expect(await abandonedBy(store, [[prepared], [prepared]])).toEqual([]);
  });

  it('is deleted only once all journals that were to have it are heard, and none has used it', async () => {
    const shared = { ...prepared, replicaNodeIds: ['j1', 'j2', 'j3'] };
    const opened = { ...shared, segmentId: Buffer.alloc(16, 3) };
    const has = new Map([
      ['j1', [shared, opened]],
      ['j2', [{ ...opened, baseKnown: true }]],
    ]);
    const abandoned: string[] = [];
    const image = new Image();
    const check = new InventoryCheck({
      store: new MemoryMetadataStore(),
      image,
      orders: { inventory: (nodeId) => Promise.resolve(has.get(nodeId) ?? []) },
      notices: { tell: () => Promise.resolve() },
      logger: silentLogger(),
      isPending: () => false,
      abandon: (segmentId, nodeId) => abandoned.push(`${segmentId.toString('hex')} ${nodeId}`),
      onUnknown: () => {},
    });
    await check.check('j1');
    await check.check('j3');
    expect([abandoned, check.unchecked]).toEqual([[], []]);
    await check.check('j2');
    expect(check.unchecked).toEqual(['j1']);
    await check.check('j1');
    expect(abandoned).toEqual([`${shared.segmentId.toString('hex')} j1`]);
  });

  it('and that is gone when the journal is asked again needs nothing', async () => {
    expect(await abandonedAfter([prepared], [])).toEqual([]);
  });
});
