import { OperatingError } from '@robustmq/core';
import {
  type DeleteRequest,
  type SealedSegment,
  type SealNotifyRequest,
  segmentIdOfBytes,
  type Status,
  toStatus,
} from '@robustmq/rpc';
import { checkItems, type ControlPort, okStatus, segmentUnknown } from './control-port.ts';
import type { Replica } from './replica.ts';

type Sealable = { readonly replica: Replica; readonly length: number };

/** Remembers ends with one sync: what lies beyond was never committed and is cut. */
export async function sealReplicas(
  port: ControlPort,
  request: SealNotifyRequest,
): Promise<Status[]> {
  checkItems(port, request.segments.length);
  const items = request.segments.map((item) => sealable(port, item));
  const wanted = items.filter((item): item is Sealable => 'replica' in item);
  // A leader that was not fenced takes nothing behind the end that is being stored.
  for (const { replica } of wanted) port.driver.run(replica, { kind: 'freeze' });
  try {
    await port.storage.seal(
      wanted.map(({ replica, length }) => ({ replica: replica.stored, length })),
    );
  } catch (thrown) {
    for (const { replica } of wanted) port.driver.run(replica, { kind: 'close' });
    throw thrown;
  }
  for (const { replica, length } of wanted) {
    // A roll that is under way is concluded by its answer: what waits goes on in the next segment.
    if (!replica.isRolling) port.driver.run(replica, { kind: 'sealed', length });
  }
  return items.map((item) => ('replica' in item ? okStatus : item));
}

function sealable(port: ControlPort, item: SealedSegment): Sealable | Status {
  const segmentId = segmentIdOfBytes(item.segmentId);
  const replica = port.replica(segmentId);
  if (replica === undefined) return segmentUnknown(segmentId);
  const { length } = item;
  const { sealedLength, commitLength, length: ownLength } = replica.state;
  if (sealedLength !== undefined && sealedLength !== length) {
    return conflict(port, `segment ${segmentId} was sealed at ${sealedLength}, not at ${length}`);
  }
  if (length < commitLength) {
    const message = `segment ${segmentId} has ${commitLength} committed records here: an end of ${length} would lose some`;
    return conflict(port, message);
  }
  if (length <= ownLength) return { replica, length };
  const message = `segment ${segmentId} has ${ownLength} records here, of ${length}: copy it first`;
  return toStatus(new OperatingError('CONFLICT', message));
}

/** An order that contradicts what is known here destroys nothing, and somebody has to look at it. */
function conflict(port: ControlPort, message: string): Status {
  port.logger.error({}, message);
  return toStatus(new OperatingError('CONFLICT', message));
}

/** Removes replicas. Deleting what is not there works. Throws CONFLICT for leftovers when it comes too late. */
export async function deleteReplicas(port: ControlPort, request: DeleteRequest): Promise<Status[]> {
  checkItems(port, request.segmentIds.length);
  const segmentIds = request.segmentIds.map(segmentIdOfBytes);
  const { authority, leftover } = request;
  if (leftover !== undefined) port.orderNumber.check(authority, leftover, port.storage.incarnation);
  for (const segmentId of segmentIds) {
    const replica = port.replica(segmentId);
    if (replica === undefined) continue;
    port.driver.run(replica, { kind: 'close' });
    port.remove(replica);
  }
  // What it has not heard of, too: the order to prepare it may still be under way.
  port.deleted.add(segmentIds);
  await port.storage.delete(segmentIds);
  return segmentIds.map(() => okStatus);
}
