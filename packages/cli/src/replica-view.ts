import {
  type DescribeClusterResponse,
  type Node,
  NodeRole,
  NodeState,
  SegmentState,
} from '@robustmq/rpc';

/**
 * In words, which segments have fewer live replicas than they were opened with, one line for the open and
 * one for the sealed ones among the last of each chain. Nothing is lost: they have less to lose.
 */
export function underReplicated({ nodes, shards }: DescribeClusterResponse): string[] {
  const up = new Set(
    nodes.filter(({ state }) => state !== NodeState.DOWN).map(({ nodeId }) => nodeId),
  );
  let open = 0;
  let sealed = 0;
  for (const { segments } of shards) {
    for (const { state, replicaNodeIds, fullNodeIds } of segments) {
      const isSealed = state === SegmentState.SEALED;
      const live = (isSealed ? fullNodeIds : replicaNodeIds).filter((nodeId) => up.has(nodeId));
      if (live.length >= replicaNodeIds.length) continue;
      if (isSealed) sealed++;
      else open++;
    }
  }
  const lines: string[] = [];
  const why = downText(nodes);
  if (open > 0) lines.push(`${counted(open, 'open')} fewer live replicas than intended${why}`);
  if (sealed > 0) lines.push(`${counted(sealed, 'sealed')} fewer live copies than intended${why}`);
  return lines;
}

function counted(count: number, state: string): string {
  return count === 1 ? `1 ${state} segment has` : `${count} ${state} segments have`;
}

/** Why that is, if a journal is down: it has its copies, and they count again when it is back. */
function downText(nodes: readonly Node[]): string {
  const down = nodes
    .filter(({ role, state }) => role === NodeRole.JOURNAL && state === NodeState.DOWN)
    .map(({ nodeId }) => nodeId);
  if (down.length === 0) return '';
  return `: ${down.join(', ')} ${down.length === 1 ? 'is' : 'are'} down; start ${down.length === 1 ? 'it' : 'them'} again`;
}
