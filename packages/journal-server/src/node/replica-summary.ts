import {
  type DescribeReplicasRequest,
  type DescribeReplicasResponse,
  type ReplicaSummary,
  segmentIdOfBytes,
  segmentIdToBytes,
  toStatus,
} from '@robustmq/rpc';
import { checkItems, type ControlPort, segmentUnknown } from './control-port.ts';
import { operatingErrorOf } from './operating-error.ts';
import type { Replica } from './replica.ts';

/**
 * A replica as it is told to placement. Most are sealed and nobody asks for them: what the state machine
 * would have to be made for stays empty.
 */
export function summaryOf(replica: Replica): ReplicaSummary {
  const { stored } = replica;
  const { manifest, sealedLength } = stored;
  const baseOffset = replica.isBaseKnown ? replica.baseOffset : undefined;
  return {
    segmentId: segmentIdToBytes(manifest.segmentId),
    shardId: manifest.shardId,
    epoch: manifest.epoch,
    baseOffset: baseOffset ?? 0,
    baseKnown: baseOffset !== undefined,
    length: sealedLength ?? stored.length,
    sealed: sealedLength !== undefined,
    fencedEpoch: stored.fencedEpoch,
    damaged: stored.damaged,
    replicaNodeIds: [...manifest.replicaNodeIds],
    ackQuorum: manifest.ackQuorum,
    sizeBytes: stored.sizeBytes,
    maxTimestampMs: stored.maxTimestampMs,
    commitLength: sealedLength ?? 0,
    leads: false,
  };
}

/** Tells of replicas, one answer for each segment. */
export function describeReplicas(
  port: ControlPort,
  request: DescribeReplicasRequest,
): DescribeReplicasResponse {
  try {
    checkItems(port, request.segmentIds.length);
    const results = request.segmentIds.map((bytes) => {
      const segmentId = segmentIdOfBytes(bytes);
      const replica = port.replica(segmentId);
      return replica === undefined
        ? { status: segmentUnknown(segmentId), replica: undefined }
        : { status: undefined, replica: detailedOf(replica) };
    });
    return { status: undefined, results };
  } catch (thrown) {
    return { status: toStatus(operatingErrorOf(thrown)), results: [] };
  }
}

function detailedOf(replica: Replica): ReplicaSummary {
  const { commitLength } = replica.state;
  return { ...summaryOf(replica), commitLength, leads: replica.isLeader };
}
