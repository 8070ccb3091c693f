import { VirtualClock } from '@robustmq/testkit';
import { Catalog } from '@robustmq/placement-client';
import { Segment, SegmentState, Shard, WatchResponse } from '@robustmq/rpc';
import { beforeEach, describe, expect, it } from 'vitest';
import { RoleWatch } from './role-watch.ts';

describe('what shards lose by a fault', () => {
  let catalog: Catalog;
  let revision: number;
  beforeEach(() => {
    catalog = new Catalog(new VirtualClock());
    revision = 0;
  });

  /** The shard goes on in a segment of these journals; the first leads it. */
  function open(shardId: number, ...replicaNodeIds: string[]): void {
    const [leaderNodeId = ''] = replicaNodeIds;
    const state = SegmentState.OPEN;
    const segment = Segment.create({ replicaNodeIds, leaderNodeId, state });
    revision++;
    const value = Shard.create({ shardId, epoch: revision, segments: [segment] });
    const entries = [{ entry: { $case: 'shard' as const, value } }];
    catalog.apply(WatchResponse.create({ revision, entries, fullListBegins: revision === 1 }));
  }

  it('is what the victims were to its segment at the begin', () => {
    open(1, 'a', 'b', 'c');
    open(2, 'b', 'c', 'a');
    open(3, 'b', 'c', 'd');
    using roles = new RoleWatch(catalog, [1, 2, 3], ['a']);
    const losses = [1, 2, 3].map((shardId) => roles.lossOf(shardId));
    expect(losses).toEqual(['leader lost', 'follower lost', 'nothing lost']);
  });

  it('gets worse with segments that are opened meanwhile, and never better', () => {
    open(1, 'b', 'c', 'a');
    open(2, 'a', 'b', 'c');
    open(3, 'b', 'c', 'd');
    using roles = new RoleWatch(catalog, [1, 2, 3], ['a']);
    open(1, 'a', 'b', 'c');
    open(2, 'b', 'c', 'd');
    open(3, 'c', 'a', 'd');
    const losses = [1, 2, 3].map((shardId) => roles.lossOf(shardId));
    expect(losses).toEqual(['leader lost', 'leader lost', 'follower lost']);
  });

  it('is final at the end of the fault: a journal that runs again may lead', () => {
    open(1, 'b', 'c', 'a');
    const roles = new RoleWatch(catalog, [1], ['a']);
    roles[Symbol.dispose]();
    open(1, 'a', 'b', 'c');
    expect(roles.lossOf(1)).toBe('follower lost');
  });
});
