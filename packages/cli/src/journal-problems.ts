import { type DescribeClusterResponse, NodeState } from '@robustmq/rpc';

/** Each acknowledgement waits for a sync: slower than this is felt. */
const slowSyncMs = 50;
/** A follower that confirms later than this does not keep up, or is away. */
const behindMsMax = 2_000;

/**
 * What is wrong or slow with journals that are up, by what they said last, in words, with what to do. What
 * is slow still works, and comes and goes with the load: it is no problem of the cluster.
 */
export function journalProblems({ nodes, journalHealth }: DescribeClusterResponse): {
  readonly problems: string[];
  readonly slow: string[];
} {
  const up = nodes.filter(({ nodeId, state }) => state !== NodeState.DOWN && journalHealth[nodeId]);
  const downIds = new Set(
    nodes.filter(({ state }) => state === NodeState.DOWN).map(({ nodeId }) => nodeId),
  );
  const problems: string[] = [];
  const slow: string[] = [];
  for (const { nodeId } of up) {
    const health = journalHealth[nodeId];
    if (health === undefined) continue;
    const { damagedReplicas, syncP99Ms, followers } = health;
    if (damagedReplicas > 0) {
      const count = damagedReplicas === 1 ? '1 replica' : `${damagedReplicas} replicas`;
      problems.push(
        `${nodeId}: ${count} damaged, read elsewhere until made anew; its log says which bytes: look at its disk`,
      );
    }
    if (syncP99Ms >= slowSyncMs) {
      slow.push(
        `${nodeId}: its disk syncs slowly, p99 ${syncP99Ms} ms, and acknowledgements wait for it; see what else uses the disk`,
      );
    }
    for (const { nodeId: follower, behindMs, records, silentMs } of followers) {
      if (downIds.has(follower)) continue;
      if (silentMs >= behindMsMax) {
        problems.push(
          `${nodeId} gets no answer from ${follower}, and placement hears both; look at the network between them`,
        );
        continue;
      }
      if (behindMs < behindMsMax) continue;
      const time = (behindMs / 1_000).toFixed(1);
      slow.push(
        `${follower} is ${time} s and ${records} records behind ${nodeId}, which leads; look at its disk and the network between them`,
      );
    }
  }
  return { problems, slow };
}
