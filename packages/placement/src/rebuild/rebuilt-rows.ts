import {
  Coordinator,
  Segment,
  StoredAudit,
  StoredCluster,
  StoredHold,
  StoredNode,
  StoredShard,
  Topic,
} from '@robustmq/rpc';
import { shardOf } from '../controller/image.ts';
import {
  auditKey,
  clusterKey,
  coordinatorKey,
  deletingKey,
  holdKey,
  mqttPrefixKey,
  removedNodeKey,
  segmentKey,
  shardKey,
  topicDeletionKey,
  topicKey,
} from '../controller/keys.ts';
import { put } from '../controller/ledger.ts';
import type { RebuildPlan } from '../core/rebuild/rebuild-plan.ts';
import { readTopicConfig } from '../core/topic-config.ts';
import type { Operation } from '../store/metadata-store.ts';

/** What a rebuilt store has. */
export function* rowsOf(
  plan: RebuildPlan,
  cluster: StoredCluster,
  audit: StoredAudit,
): Generator<Operation> {
  yield put(clusterKey, StoredCluster.encode(cluster));
  yield put(auditKey(audit.atMs, audit.shardId), StoredAudit.encode(audit));
  for (const topic of plan.topics) {
    yield put(topicKey(topic.name), Topic.encode(topic));
    const prefix = readTopicConfig(topic.config).mqttPrefix;
    if (prefix === '') continue;
    yield { kind: 'put', key: mqttPrefixKey(prefix), value: Buffer.from(topic.name) };
  }
  for (const topic of plan.topicDeletions) {
    yield put(topicDeletionKey(topic.topicId), Topic.encode(topic));
  }
  for (const stored of plan.shards) {
    yield put(shardKey(shardOf(stored).shardId), StoredShard.encode(stored));
  }
  for (const segment of plan.sealed) {
    const { shardId, endOffset, segmentId } = segment;
    yield put(segmentKey(shardId, endOffset, segmentId), Segment.encode(segment));
  }
  for (const segment of plan.deleting) {
    yield put(deletingKey(segment.segmentId), Segment.encode(segment));
  }
  for (const coordinator of plan.coordinators) {
    const key = coordinatorKey(coordinator.kind, coordinator.index);
    yield put(key, Coordinator.encode(coordinator));
  }
  for (const stored of plan.removedNodes) {
    yield put(removedNodeKey(stored.node?.nodeId ?? ''), StoredNode.encode(stored));
  }
  for (const { shardId, holder, offset } of plan.holds) {
    yield put(holdKey(shardId, holder), StoredHold.encode({ offset }));
  }
}
