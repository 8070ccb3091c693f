import {
  errorOfStatus,
  journalAdminMethods,
  type Node,
  NodeState,
  type ReplicaSummary,
  type Segment,
  type Transport,
} from '@robustmq/rpc';

/** What a journal says of its replica of a segment. */
export interface ReplicaReport {
  /** In hex. */
  readonly segmentId: string;
  readonly nodeId: string;
  readonly state: ReplicaWord;
  /** Undefined when the journal is away or has no such replica. */
  readonly replica: ReplicaSummary | undefined;
}

/** `missing`: its journal has no replica of the segment; `away`: the journal does not answer. */
type ReplicaWord =
  | 'away'
  | 'missing'
  | 'damaged'
  | 'sealed'
  | 'leads'
  | 'fenced'
  | 'unsealed'
  | 'prepared';

/** An operator waits: a journal that is away must not hold the others' answers up for long. */
const timeoutMs = 3_000;
/** Segments of one call, as the contract says. */
const segmentsMax = 1_000;

/** Asks each journal of each segment's replica set, all at once; in the order of the segments. */
export async function replicaReports(
  segments: readonly Segment[],
  nodes: readonly Node[],
  transport: Transport,
): Promise<ReplicaReport[]> {
  const nodeIds = new Set(segments.flatMap(({ replicaNodeIds }) => replicaNodeIds));
  const ofNode = new Map<string, ReadonlyMap<string, ReplicaReport>>();
  await Promise.all(
    [...nodeIds].map(async (nodeId) => {
      const held = segments.filter(({ replicaNodeIds }) => replicaNodeIds.includes(nodeId));
      const node = nodes.find((candidate) => candidate.nodeId === nodeId);
      ofNode.set(nodeId, await askJournal(nodeId, node, held, transport));
    }),
  );
  return segments.flatMap(({ segmentId, replicaNodeIds }) =>
    replicaNodeIds.flatMap((nodeId) => ofNode.get(nodeId)?.get(segmentId.toString('hex')) ?? []),
  );
}

async function askJournal(
  nodeId: string,
  node: Node | undefined,
  segments: readonly Segment[],
  transport: Transport,
): Promise<Map<string, ReplicaReport>> {
  const reports = new Map<string, ReplicaReport>();
  const note = (segment: Segment, state: ReplicaWord, replica?: ReplicaSummary): void => {
    const segmentId = segment.segmentId.toString('hex');
    reports.set(segmentId, { segmentId, nodeId, state, replica });
  };
  for (const segment of segments) note(segment, 'away');
  if (node === undefined || node.state === NodeState.DOWN) return reports;
  await using client = transport.connect(node.address, 'control');
  try {
    for (let at = 0; at < segments.length; at += segmentsMax) {
      const batch = segments.slice(at, at + segmentsMax);
      const request = { segmentIds: batch.map(({ segmentId }) => segmentId) };
      const answer = await client.call(journalAdminMethods.describeReplicas, request, {
        timeoutMs,
      });
      if (answer.status !== undefined) throw errorOfStatus(answer.status);
      answer.results.forEach(({ replica }, index) => {
        const segment = batch[index];
        if (segment !== undefined) note(segment, wordOf(replica), replica);
      });
    }
  } catch {
    // What it has not told stays "away".
  }
  return reports;
}

function wordOf(replica: ReplicaSummary | undefined): ReplicaWord {
  if (replica === undefined) return 'missing';
  if (replica.damaged) return 'damaged';
  if (replica.sealed) return 'sealed';
  if (replica.leads) return 'leads';
  if (replica.fencedEpoch > replica.epoch) return 'fenced';
  return replica.baseKnown ? 'unsealed' : 'prepared';
}
