import { DescribeClusterResponse, NodeState } from '@robustmq/rpc';
import { expect, it } from 'vitest';

import { journalProblems } from './journal-problems.ts';

const nodes = [
  { nodeId: 'j1', state: NodeState.UP },
  { nodeId: 'j2', state: NodeState.UP },
  { nodeId: 'j3', state: NodeState.DOWN },
];

function problems(health: object): ReturnType<typeof journalProblems> {
  const journalHealth = { j1: health, j3: { damagedReplicas: 9, syncP99Ms: 900 } };
  return journalProblems(DescribeClusterResponse.fromPartial({ nodes, journalHealth }));
}

it('are none of a journal that keeps up', () => {
  const followers = [{ nodeId: 'j2', records: 4, behindMs: 12 }];
  expect(problems({ syncP99Ms: 3, followers })).toEqual({ problems: [], slow: [] });
});

it('are journals that are cut off from each other, unless one is down', () => {
  const followers = ['j2', 'j3'].map((nodeId) => {
    return { nodeId, records: 700, behindMs: 4_200, silentMs: 4_100 };
  });
  expect(problems({ followers })).toEqual({
    problems: [
      'j1 gets no answer from j2, and placement hears both; look at the network between them',
    ],
    slow: [],
  });
});

it('are told in words, with what to do; not of one that is down', () => {
  const followers = [
    { nodeId: 'j2', records: 700, behindMs: 4_200 },
    { nodeId: 'j3', records: 900, behindMs: 9_000 },
  ];
  expect(problems({ damagedReplicas: 2, syncP99Ms: 120, followers })).toEqual({
    problems: [
      'j1: 2 replicas damaged, read elsewhere until made anew; its log says which bytes: look at its disk',
    ],
    slow: [
      'j1: its disk syncs slowly, p99 120 ms, and acknowledgements wait for it; see what else uses the disk',
      'j2 is 4.2 s and 700 records behind j1, which leads; look at its disk and the network between them',
    ],
  });
});
