import { epoch, nodeId, OperatingError, type SegmentId, shardId } from '@robustmq/core';
import {
  type PrepareReplica,
  type PrepareRequest,
  segmentIdOfBytes,
  type Status,
  toStatus,
} from '@robustmq/rpc';
import type { ReplicaManifest } from '../storage/storage.ts';
import { checkItems, type ControlPort, okStatus, segmentUnknown } from './control-port.ts';

/** Creates the manifests of new replicas with one sync. What exists already is left as it is. */
export async function prepareReplicas(
  port: ControlPort,
  request: PrepareRequest,
): Promise<Status[]> {
  checkItems(port, request.replicas.length);
  checkRoom(port);
  const manifests = request.replicas.map(manifestOf);
  const results = manifests.map((manifest) => reasonToRefuse(port, manifest));
  const wanted = manifests.filter((_, index) => results[index] === undefined);
  await port.storage.create(wanted);
  // An order to delete may have come meanwhile: whoever gave this one has given up waiting.
  const isThere = (segmentId: SegmentId): boolean => port.storage.replica(segmentId) !== undefined;
  port.adopt(wanted.map(({ segmentId }) => segmentId).filter(isThere));
  return manifests.map(({ segmentId }, index) => {
    const error = results[index];
    if (error !== undefined) return toStatus(error);
    return isThere(segmentId) ? okStatus : segmentUnknown(segmentId);
  });
}

function checkRoom({ storage, isDraining }: ControlPort): void {
  if (isDraining) {
    throw new OperatingError('UNAVAILABLE', 'this journal shuts down: choose another one');
  }
  if (!storage.stats.readOnly) return;
  const message = `${storage.stats.freeBytes} bytes are free, below the reserve: choose another journal`;
  throw new OperatingError('DISK_FULL', message);
}

export function manifestOf(replica: PrepareReplica): ReplicaManifest {
  return {
    segmentId: segmentIdOfBytes(replica.segmentId),
    shardId: shardId(replica.shardId),
    epoch: epoch(replica.epoch),
    replicaNodeIds: replica.replicaNodeIds.map(nodeId),
    ackQuorum: replica.ackQuorum,
  };
}

function reasonToRefuse(port: ControlPort, manifest: ReplicaManifest): OperatingError | undefined {
  const { storage } = port;
  const { segmentId, shardId: shard, replicaNodeIds, ackQuorum } = manifest;
  if (!replicaNodeIds.includes(storage.nodeId)) {
    const message = `this journal, ${storage.nodeId}, is not in the replica set of ${segmentId}`;
    return new OperatingError('INVALID_ARGUMENT', message);
  }
  if (ackQuorum < 1 || ackQuorum > replicaNodeIds.length) {
    const message = `an ack quorum of ${ackQuorum} does not fit ${replicaNodeIds.length} replicas`;
    return new OperatingError('INVALID_ARGUMENT', message);
  }
  const stored = storage.replica(segmentId);
  if (stored?.isCopying === true) {
    return new OperatingError('CONFLICT', `segment ${segmentId} is being copied to this journal`);
  }
  const existing = stored?.manifest;
  if (existing === undefined) {
    if (port.deleted.has(segmentId)) {
      const message = `segment ${segmentId} was deleted: this order comes too late`;
      return new OperatingError('SEGMENT_UNKNOWN', message);
    }
    const newestEpoch = port.newestEpoch(shard);
    if (manifest.epoch > newestEpoch) return undefined;
    // Epochs grow along a chain (I11): placement does not know of a segment that is here.
    const message = `shard ${shard} has a segment of epoch ${newestEpoch} here, ${manifest.epoch} is too low: placement's data folder is an old copy`;
    return new OperatingError('OLD_STORE', message);
  }
  if (existing.epoch === manifest.epoch) return undefined;
  const message = `segment ${segmentId} was prepared with epoch ${existing.epoch}, not ${manifest.epoch}`;
  return new OperatingError('CONFLICT', message);
}
