import { offset, OperatingError } from '@robustmq/core';
import {
  type ActivateRequest,
  type ActivateSegment,
  type SegmentPolicy,
  segmentIdOfBytes,
  type Status,
  toStatus,
} from '@robustmq/rpc';
import { canActivate } from '../core/replica-step.ts';
import { checkItems, type ControlPort, okStatus, segmentUnknown } from './control-port.ts';
import { inParallel } from './in-parallel.ts';
import { operatingErrorOf } from './operating-error.ts';
import type { TakenProducers } from './producer-takeover.ts';
import type { Replica, RollPolicy } from './replica.ts';

/** Makes this node the leader of prepared replicas, each with the producers of the segment before. */
export async function activateSegments(
  port: ControlPort,
  request: ActivateRequest,
): Promise<Status[]> {
  checkItems(port, request.segments.length);
  return inParallel(request.segments, port.limits.takeoversRunningMax, async (order) => {
    try {
      return await activate(port, order);
    } catch (thrown) {
      return toStatus(operatingErrorOf(thrown));
    }
  });
}

async function activate(port: ControlPort, order: ActivateSegment): Promise<Status> {
  const segmentId = segmentIdOfBytes(order.segmentId);
  const replica = port.replica(segmentId);
  if (replica === undefined) return segmentUnknown(segmentId);
  // An order that comes twice was obeyed the first time.
  if (isLedAsOrdered(port, replica, order)) return okStatus;
  check(port, replica, order);
  const taken = await takeOver(port, order);
  // Much may have happened while the producers were folded.
  const isLate = !canActivate(replica.state) || port.isDraining;
  if (isLate) {
    port.takeover.abandon(taken);
    if (isLedAsOrdered(port, replica, order)) return okStatus;
    check(port, replica, order);
  }
  port.storage.activate(replica.stored, offset(order.baseOffset));
  replica.policy = policyOf(order.policy);
  const { state: producers } = taken;
  port.takeover.taken(taken);
  port.driver.run(replica, { kind: 'activate', baseOffset: order.baseOffset, producers });
  port.led(replica);
  return okStatus;
}

function isLedAsOrdered(
  { storage }: ControlPort,
  replica: Replica,
  order: ActivateSegment,
): boolean {
  return replica.isLeader && order.incarnation === storage.incarnation;
}

/** Throws NOT_LEADER, UNAVAILABLE, CONFLICT, DAMAGED or FENCED. */
function check(port: ControlPort, replica: Replica, order: ActivateSegment): void {
  const { storage, isDraining } = port;
  const { segmentId, epoch } = replica.state.identity;
  if (isDraining) throw new OperatingError('UNAVAILABLE', 'this journal shuts down');
  if (order.incarnation !== storage.incarnation) {
    const message = `incarnation ${order.incarnation} was to lead ${segmentId}; this is ${storage.incarnation}`;
    throw new OperatingError('NOT_LEADER', message);
  }
  if (order.epoch !== epoch) {
    const message = `segment ${segmentId} was prepared with epoch ${epoch}, not ${order.epoch}`;
    throw new OperatingError('CONFLICT', message);
  }
  const newestEpoch = port.newestEpoch(replica.state.identity.shardId);
  if (epoch < newestEpoch) {
    const message = `segment ${segmentId} has epoch ${epoch}, and the shard one of epoch ${newestEpoch} here: this order comes too late`;
    throw new OperatingError('FENCED', message, { epoch: newestEpoch });
  }
  if (replica.stored.damaged) {
    throw new OperatingError('DAMAGED', `segment ${segmentId} fails its checksums here`);
  }
  if (canActivate(replica.state)) return;
  const { fencedEpoch } = replica.state;
  const message = `segment ${segmentId} was led or fenced (epoch ${fencedEpoch}) here: open another one`;
  throw new OperatingError('FENCED', message, { epoch: fencedEpoch });
}

function takeOver(
  port: ControlPort,
  order: ActivateSegment,
): TakenProducers | Promise<TakenProducers> {
  if (order.previousSegmentId.length === 0) {
    return { state: port.takeover.empty(), from: undefined };
  }
  return port.takeover.takeOver({
    segmentId: segmentIdOfBytes(order.previousSegmentId),
    endOffset: order.baseOffset,
    fullNodes: order.previousFullNodes,
  });
}

function policyOf(policy: SegmentPolicy | undefined): RollPolicy | undefined {
  if (policy === undefined || policy.segmentBytes === 0 || policy.segmentMs === 0) return undefined;
  return { segmentBytes: policy.segmentBytes, segmentMs: policy.segmentMs };
}
