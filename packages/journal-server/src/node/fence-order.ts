import {
  assert,
  epoch as epochOf,
  type Epoch,
  OperatingError,
  type SegmentId,
} from '@robustmq/core';
import {
  type FenceRequest,
  type FenceResult,
  segmentIdOfBytes,
  type Status,
  toStatus,
} from '@robustmq/rpc';
import { checkItems, type ControlPort, okStatus, segmentUnknown } from './control-port.ts';
import type { Replica } from './replica.ts';

/**
 * Fences replicas with one sync, and tells how long their logs are: everything in them is durable when
 * the answer leaves, and no append under a lower epoch is acknowledged after it (I5).
 */
export async function fenceSegments(
  port: ControlPort,
  request: FenceRequest,
): Promise<FenceResult[]> {
  checkItems(port, request.segments.length);
  // An id that cannot be read refuses the call before anything is fenced.
  const orders = request.segments.map(({ segmentId, epoch }) => ({
    segmentId: segmentIdOfBytes(segmentId),
    epoch: epochOf(epoch),
  }));
  port.orderNumber.note(request.authority, request.order);
  const fenced = orders.map((order) => fenceInMemory(port, order));
  const items = fenced.flatMap((one) =>
    'replica' in one ? [{ replica: one.replica.stored, epoch: one.epoch }] : [],
  );
  await port.storage.fence(items);
  await untilDurable(
    port,
    fenced.flatMap((one) => ('replica' in one ? [one.replica] : [])),
  );
  return fenced.map((one) => {
    if (!('replica' in one)) return notFenced(one.status);
    // It may have been deleted while the fence was written.
    const isThere = isReplica(port, one.replica);
    return isThere
      ? fencedState(one.replica)
      : notFenced(segmentUnknown(one.replica.stored.manifest.segmentId));
  });
}

interface FenceOrder {
  readonly segmentId: SegmentId;
  readonly epoch: Epoch;
}

type Fenced = { readonly replica: Replica; readonly epoch: Epoch } | { readonly status: Status };

/** From here on the leader acknowledges nothing more. */
function fenceInMemory(port: ControlPort, order: FenceOrder): Fenced {
  const { segmentId, epoch } = order;
  const replica = port.replica(segmentId);
  if (replica === undefined) return { status: segmentUnknown(segmentId) };
  const { fencedEpoch, identity } = replica.state;
  if (epoch < fencedEpoch || epoch <= identity.epoch) {
    const highest = Math.max(fencedEpoch, identity.epoch);
    const message = `segment ${segmentId} has seen epoch ${highest}: ${epoch} is too low`;
    return { status: toStatus(new OperatingError('FENCED', message, { epoch: highest })) };
  }
  replica.isRolling = false;
  port.driver.run(replica, { kind: 'fence', epoch });
  return { replica, epoch };
}

/**
 * Waits until all that these replicas have is durable. A recovery under the same epoch may append while a
 * fence, or another recovery, waits for its sync: what it put there is in the answer, too.
 */
export async function untilDurable(
  port: Pick<ControlPort, 'replica' | 'storage'>,
  replicas: readonly Replica[],
): Promise<void> {
  const isBehind = (replica: Replica): boolean =>
    replica.stored.durableLength < replica.stored.length && isReplica(port, replica);
  while (replicas.some(isBehind)) await port.storage.sync();
}

function isReplica(port: Pick<ControlPort, 'replica'>, replica: Replica): boolean {
  return port.replica(replica.stored.manifest.segmentId) === replica;
}

/** What a fenced replica has; all of it has to be durable. */
export function fencedState({ stored, state }: Replica): FenceResult {
  assert(stored.durableLength === stored.length, 'only what is durable is told');
  return {
    status: stored.damaged ? damaged(stored.manifest.segmentId) : okStatus,
    length: stored.length,
    chain: stored.chain,
    commitLength: state.commitLength,
    sizeBytes: stored.sizeBytes,
    maxTimestampMs: stored.maxTimestampMs,
    sealed: stored.sealedLength !== undefined,
  };
}

function damaged(segmentId: SegmentId): Status {
  const message = `segment ${segmentId} is fenced, but fails its checksums here`;
  return toStatus(new OperatingError('DAMAGED', message));
}

/** An answer that says nothing but why not. */
export function notFenced(status: Status): FenceResult {
  const nothing = { length: 0, chain: 0, commitLength: 0, sizeBytes: 0, maxTimestampMs: 0 };
  return { status, ...nothing, sealed: false };
}
