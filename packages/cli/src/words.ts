import { NodeRole, NodeState, SegmentState } from '@robustmq/rpc';

/** What is shown of something that nobody could be asked for. */
export const unknown = '?';

export const roleWords: Record<NodeRole, string> = {
  [NodeRole.UNSPECIFIED]: unknown,
  [NodeRole.BROKER]: 'broker',
  [NodeRole.JOURNAL]: 'journal',
};

export const nodeStateWords: Record<NodeState, string> = {
  [NodeState.UNSPECIFIED]: unknown,
  [NodeState.UP]: 'up',
  [NodeState.DRAINING]: 'draining',
  [NodeState.DOWN]: 'down',
  [NodeState.DRAINED]: 'drained',
};

export const segmentStateWords: Record<SegmentState, string> = {
  [SegmentState.UNSPECIFIED]: unknown,
  [SegmentState.OPEN]: 'open',
  [SegmentState.SEALING]: 'sealing',
  [SegmentState.SEALED]: 'sealed',
  [SegmentState.DELETING]: 'deleting',
};
