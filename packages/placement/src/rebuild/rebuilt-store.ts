// The thin shell around folders: SQLite opens its file by itself.
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { OperatingError } from '@robustmq/core';
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
import { shardOf } from '../controller/image.ts';
import { put } from '../controller/ledger.ts';
import { readTopicConfig } from '../core/topic-config.ts';
import type { RebuildPlan } from '../core/rebuild/rebuild-plan.ts';
import type { Operation } from '../store/metadata-store.ts';
import { SqliteStore } from '../store/sqlite-store.ts';

/**
 * Revisions that the lost store may have given since the newest copy. Watchers resume behind what they
 * have seen: a rebuilt store begins far above that, so that they take the full list.
 */
const revisionsSpare = 1_000_000_000;

/** Throws ALREADY_EXISTS unless the folder is empty, or CONFLICT when a placement has it open. */
export function checkTarget(dataDir: string, force: boolean): void {
  if (isEmpty(dataDir)) return;
  if (!force) {
    const message = `${dataDir} is not empty: name another --data-dir, or give --force, which keeps what is there beside it`;
    throw new OperatingError('ALREADY_EXISTS', message);
  }
  if (!existsSync(join(dataDir, 'placement.db'))) return;
  try {
    void SqliteStore.open({ dataDir })[Symbol.asyncDispose]();
  } catch (thrown) {
    // Whatever else is wrong with it is why it is replaced.
    if (thrown instanceof OperatingError && thrown.code === 'CONFLICT') throw thrown;
  }
}

/**
 * Writes the store beside the folder and puts it in its place, so that a rebuild which is killed leaves no
 * half of one. Returns where what was there before is now; undefined when nothing was.
 */
export async function writeStore(
  dataDir: string,
  plan: RebuildPlan,
  cluster: StoredCluster,
  audit: StoredAudit,
): Promise<string | undefined> {
  const target = resolve(dataDir);
  const beside = `${target}.rebuilding`;
  rmSync(beside, { recursive: true, force: true });
  mkdirSync(dirname(target), { recursive: true });
  const afterRevision = plan.revision + revisionsSpare;
  const store = SqliteStore.open({ dataDir: beside, afterRevision });
  try {
    await using leadership = await store.lead();
    const operations = [...rowsOf(plan, cluster, audit)];
    const { operationsMax } = store;
    for (let at = 0; at < operations.length; at += operationsMax) {
      await leadership.transact([], operations.slice(at, at + operationsMax));
    }
  } finally {
    await store[Symbol.asyncDispose]();
  }
  const old = putAside(target, cluster.placementEpoch);
  renameSync(beside, target);
  syncFolder(dirname(target));
  return old;
}

function isEmpty(folder: string): boolean {
  return !existsSync(folder) || readdirSync(folder).length === 0;
}

function putAside(target: string, placementEpoch: number): string | undefined {
  if (!existsSync(target)) return undefined;
  if (isEmpty(target)) {
    rmdirSync(target);
    return undefined;
  }
  for (let number = 0; ; number++) {
    const old = `${target}.before-epoch-${placementEpoch}${number === 0 ? '' : `-${number}`}`;
    if (existsSync(old)) continue;
    renameSync(target, old);
    return old;
  }
}

function syncFolder(folder: string): void {
  const file = openSync(folder, 'r');
  fsyncSync(file);
  closeSync(file);
}

function* rowsOf(
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
