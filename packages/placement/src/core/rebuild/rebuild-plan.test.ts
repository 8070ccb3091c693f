import { CatalogCopy, ReplicaSummary, SegmentState } from '@robustmq/rpc';
import { describe, expect, it } from 'vitest';
import { planRebuild, type RebuildPlan } from './rebuild-plan.ts';

const topic = (name: string, ...shardIds: number[]): object => ({
  name,
  topicId: Buffer.from(name),
  shardIds,
});

const replica = (id: number, shardId: number, change: object = {}): ReplicaSummary =>
  ReplicaSummary.fromPartial({
    segmentId: Buffer.alloc(16, id),
    shardId,
    epoch: 1,
    baseKnown: true,
    length: 5,
    sealed: true,
    replicaNodeIds: ['n1'],
    ackQuorum: 1,
    ...change,
  });

function planOf(newest: object, older: object, ...replicas: ReplicaSummary[]): RebuildPlan {
  return planRebuild({
    copies: [
      { revision: 4, copy: CatalogCopy.fromPartial(older) },
      { revision: 9, copy: CatalogCopy.fromPartial(newest) },
    ],
    inventories: new Map([['n1', replicas]]),
    isIncomplete: false,
    nowMs: 1,
  });
}

describe('the plan of a rebuild', () => {
  it('takes the newest copy, and counters above all that anybody has seen', () => {
    const newest = { topics: [topic('a', 1)], nextShardId: 2, nextProducerId: 70 };
    const older = { topics: [topic('old', 5)], nextShardId: 6, nextProducerId: 90 };
    const plan = planOf(newest, older, replica(1, 1), replica(2, 8, { length: 0 }));
    expect(plan.topics.map(({ name }) => name)).toEqual(['a']);
    expect(plan.nextShardId).toBeGreaterThan(8);
    expect(plan.nextProducerId).toBe(90);
    expect(plan.revision).toBe(9);
    expect(plan.findings).toEqual([]);
  });

  it('leaves replicas of a topic alone that was deleted since an older copy, and says how many', () => {
    const plan = planOf({ topics: [] }, { topics: [topic('gone', 3)] }, replica(1, 3));
    expect([plan.leftovers, plan.deleting, plan.findings]).toEqual([1, [], []]);
  });

  it('tells of records whose topic no copy knows', () => {
    const plan = planOf({ topics: [] }, { topics: [] }, replica(1, 3));
    expect(plan.findings).toMatchObject([
      { kind: 'loss', text: expect.stringContaining('shard 3') },
    ]);
  });

  it('gives again the orders to delete that were given: of segments, and of topics', () => {
    const deleting = [{ segmentId: Buffer.alloc(16, 1), shardId: 1, state: SegmentState.DELETING }];
    const newest = { topics: [topic('a', 1)], topicDeletions: [topic('b', 2)], deleting };
    const plan = planOf(newest, {}, replica(1, 1), replica(2, 2));
    expect(plan.deleting.map(({ segmentId }) => segmentId[0])).toEqual([1, 2]);
    expect(plan.deleting.map(({ state }) => state)).toEqual([
      SegmentState.DELETING,
      SegmentState.DELETING,
    ]);
    expect(plan.sealed).toEqual([]);
    expect(plan.shards.map(({ shard }) => shard?.shardId)).toEqual([1]);
  });

  it('raises the epochs of coordinators, and leaves them without an owner', () => {
    const coordinators = [{ kind: 'k', index: 0, shardId: 1, ownerNodeId: 'b', epoch: 7 }];
    const plan = planOf({ topics: [topic('$k', 1)], coordinators }, {});
    expect(plan.coordinators).toMatchObject([{ ownerNodeId: '' }]);
    expect(plan.coordinators[0]?.epoch).toBeGreaterThan(1_000);
  });

  it.each<[string, object, string]>([
    ['different ends', { length: 4 }, 'sealed at different lengths'],
    ['different bases', { baseOffset: 7 }, 'begin at different offsets'],
  ])('does not choose between reports of %s', (_, change, words) => {
    const plan = planRebuild({
      copies: [{ revision: 1, copy: CatalogCopy.fromPartial({ topics: [topic('a', 1)] }) }],
      inventories: new Map([
        ['n1', [replica(1, 1)]],
        ['n2', [replica(1, 1, change)]],
      ]),
      isIncomplete: false,
      nowMs: 1,
    });
    expect(plan.findings).toMatchObject([
      { kind: 'conflict', text: expect.stringContaining(words) },
    ]);
  });
});
