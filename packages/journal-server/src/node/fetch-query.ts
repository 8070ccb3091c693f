import { OperatingError } from '@robustmq/core';
import { type FetchRequest, type FetchResponse, segmentIdOfBytes, toStatus } from '@robustmq/rpc';
import { type ControlPort, segmentUnknown } from './control-port.ts';
import { operatingErrorOf } from './operating-error.ts';
import type { Replica } from './replica.ts';

const noBytes = Buffer.alloc(0);

/**
 * Frames for a replica that lacks them. Only of one that takes no appends any more: it is fenced for the
 * seal that asks, or sealed, and everything that is given is durable here.
 */
export async function fetchFrames(
  port: Pick<ControlPort, 'storage' | 'limits' | 'replica'>,
  request: FetchRequest,
): Promise<FetchResponse> {
  const segmentId = segmentIdOfBytes(request.segmentId);
  const replica = port.replica(segmentId);
  if (replica === undefined) return refused(segmentUnknown(segmentId));
  try {
    checkSettled(replica, request);
    const { fromLength, toLength } = request;
    const bytesMax = port.limits.readBytesMax;
    const range = { fromIndex: fromLength, limitIndex: toLength, bytesMax };
    const { frames } = await port.storage.read(replica.stored, range);
    return { status: undefined, frames: Buffer.concat(frames), previousLength: fromLength };
  } catch (thrown) {
    return refused(toStatus(operatingErrorOf(thrown)));
  }
}

function checkSettled({ state, stored, isSealed }: Replica, request: FetchRequest): void {
  const { epoch, toLength } = request;
  const { segmentId } = state.identity;
  if (!isSealed && state.fencedEpoch < epoch) {
    const message = `segment ${segmentId} is fenced with epoch ${state.fencedEpoch} here, not with ${epoch}`;
    throw new OperatingError('CONFLICT', message);
  }
  if (stored.durableLength >= toLength) return;
  const message = `segment ${segmentId} has ${stored.durableLength} durable records here, of ${toLength}`;
  throw new OperatingError('SEGMENT_UNKNOWN', message);
}

function refused(status: ReturnType<typeof toStatus>): FetchResponse {
  return { status, frames: noBytes, previousLength: 0 };
}
