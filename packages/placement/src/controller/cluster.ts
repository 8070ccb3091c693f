import { assert, OperatingError, type Random } from '@robustmq/core';
import { type NewTopic, StoredCluster } from '@robustmq/rpc';
import type { Operation } from '../store/metadata-store.ts';
import { Image } from './image.ts';
import { clusterKey } from './keys.ts';
import { type Ledger, put } from './ledger.ts';
import { checkTopicConfig } from '../core/topic-config.ts';
import { checkTopicName } from '../core/topic-name.ts';
import { planTopic } from './topic-plan.ts';

/** Producer id 0 is never given, so that a forgotten field cannot be somebody's id. */
const firstProducerId = 1;
const firstShardId = 1;
const producerIdsMax = 10_000;
/** As journals expect them. */
const lineageMax = 128;
const lineageMarkBytes = 8;
const producerIdsPerEpoch = 2 ** 32;

/** What every order and answer of this placement carries. */
export interface ClusterIdentity {
  readonly clusterId: string;
  readonly placementEpoch: number;
}

/**
 * Makes the cluster at the very first start, with its first topics, in one transaction; at each later
 * start raises the placement epoch, durably, before anything is ordered in its name.
 */
export async function startEpoch(
  ledger: Ledger,
  random: Random,
  instance: Buffer,
  defaultTopics: readonly NewTopic[],
): Promise<ClusterIdentity> {
  const { image } = ledger;
  await ledger.change(() => {
    const { cluster } = image;
    if (cluster === undefined) {
      return firstStart(random, instance, defaultTopics, ledger.operationsMax);
    }
    const placementEpoch = cluster.value.placementEpoch + 1;
    const nextProducerId = Math.max(
      cluster.value.nextProducerId,
      producerIdsFrom(placementEpoch, random),
    );
    const lineage = [...cluster.value.lineage, lineageMark(instance)].slice(-lineageMax);
    const raised: StoredCluster = { ...cluster.value, placementEpoch, nextProducerId, lineage };
    return {
      conditions: [{ key: clusterKey, revision: cluster.revision }],
      operations: [put(clusterKey, StoredCluster.encode(raised))],
    };
  });
  assert(image.cluster !== undefined, 'the cluster was made');
  const { clusterId, placementEpoch } = image.cluster.value;
  return { clusterId, placementEpoch };
}

/**
 * Where a placement that begins to decide goes on with producer ids: somewhere in a range of its epoch, since
 * two that begin from copies of one store have the same epoch and must not give the same ids. 0 once epochs
 * are too high for ranges.
 */
function producerIdsFrom(placementEpoch: number, random: Random): number {
  const from = placementEpoch * producerIdsPerEpoch + random.bytes(4).readUInt32LE();
  return Number.isSafeInteger(from) ? from : 0;
}

/** What a store remembers of who has decided with it. */
function lineageMark(instance: Buffer): Buffer {
  return instance.subarray(0, lineageMarkBytes);
}

/** Takes a block of producer ids. Throws INVALID_ARGUMENT. */
export async function allocateProducerIds(ledger: Ledger, count: number): Promise<number> {
  if (count < 1 || count > producerIdsMax) {
    const message = `a block has 1 to ${producerIdsMax} producer ids, not ${count}`;
    throw new OperatingError('INVALID_ARGUMENT', message);
  }
  let first = 0;
  await ledger.change(() => {
    const { cluster } = ledger.image;
    assert(cluster !== undefined, 'the cluster is made before it serves');
    first = cluster.value.nextProducerId;
    const taken: StoredCluster = { ...cluster.value, nextProducerId: first + count };
    return {
      conditions: [{ key: clusterKey, revision: cluster.revision }],
      operations: [put(clusterKey, StoredCluster.encode(taken))],
    };
  });
  return first;
}

function firstStart(
  random: Random,
  instance: Buffer,
  defaultTopics: readonly NewTopic[],
  operationsMax: number,
): { conditions: { key: string; revision: number }[]; operations: Operation[] } {
  const cluster: StoredCluster = {
    clusterId: random.bytes(16).toString('hex'),
    placementEpoch: 1,
    nextShardId: firstShardId,
    nextProducerId: firstProducerId,
    incomplete: false,
    lineage: [lineageMark(instance)],
  };
  // A picture of the cluster as it grows topic by topic; only its last state is stored.
  const growing = new Image();
  const rows = new Map<string, Operation>();
  const grow = (operation: Operation): void => {
    rows.set(operation.key, operation);
    if (operation.kind === 'put') growing.apply({ ...operation, revision: rows.size });
  };
  grow(put(clusterKey, StoredCluster.encode(cluster)));
  for (const { name, partitions, config } of defaultTopics) {
    checkTopicName(name);
    checkTopicConfig(config);
    for (const operation of planTopic(growing, random, { name, partitions, config }).operations) {
      grow(operation);
    }
  }
  const operations = [...rows.values()];
  if (operations.length > operationsMax) {
    const message = `the default topics have too many partitions: ${operations.length} rows, ${operationsMax} fit`;
    throw new OperatingError('INVALID_ARGUMENT', message);
  }
  return { conditions: [{ key: clusterKey, revision: 0 }], operations };
}
