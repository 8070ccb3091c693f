import { DescribeClusterResponse, NodeState, SegmentState } from '@robustmq/rpc';
import { describe, expect, it } from 'vitest';

import { underReplicated } from './replica-view.ts';

const nodes = [
  { nodeId: 'a', state: NodeState.UP },
  { nodeId: 'b', state: NodeState.DRAINING },
  { nodeId: 'c', state: NodeState.DOWN },
];

function linesOf(
  ...segments: { state: SegmentState; replicaNodeIds: string[]; fullNodeIds?: string[] }[]
): string[] {
  return underReplicated(DescribeClusterResponse.fromPartial({ nodes, shards: [{ segments }] }));
}

describe('segments with too few replicas', () => {
  const { OPEN, SEALED } = SegmentState;

  it('are none while every replica lives', () => {
    expect(
      linesOf(
        { state: SEALED, replicaNodeIds: ['a', 'b'], fullNodeIds: ['a', 'b'] },
        { state: OPEN, replicaNodeIds: ['a', 'b'] },
      ),
    ).toEqual([]);
  });

  it('are told by whether they are open, a copy that is not full among the sealed ones', () => {
    expect(
      linesOf(
        { state: SEALED, replicaNodeIds: ['a', 'b'], fullNodeIds: ['a'] },
        { state: SEALED, replicaNodeIds: ['a', 'b', 'c'], fullNodeIds: ['a', 'b', 'c'] },
        { state: OPEN, replicaNodeIds: ['a', 'b', 'c'] },
      ),
    ).toEqual([
      '1 open segment has fewer live replicas than intended',
      '2 sealed segments have fewer live copies than intended',
    ]);
  });
});
