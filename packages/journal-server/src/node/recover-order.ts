import { OperatingError, type SegmentId } from '@robustmq/core';
import {
  type FenceResult,
  type FetchRequest,
  type FetchResponse,
  journalReplicaMethods,
  type RecoverRequest,
  type RecoverSegment,
  refusalOf,
  type RpcClient,
  segmentIdOfBytes,
  toStatus,
  type Transport,
} from '@robustmq/rpc';
import { canRecover } from '../core/replica-step.ts';
import { checkItems, type ControlPort, segmentUnknown } from './control-port.ts';
import { storeFrames } from './copied-frames.ts';
import { fencedState, notFenced } from './fence-order.ts';
import { inParallel } from './in-parallel.ts';
import { operatingErrorOf } from './operating-error.ts';
import type { Replica } from './replica.ts';

/** What copying needs besides. */
export interface RecoverPort extends ControlPort {
  readonly transport: Transport;
  /** The base of the replica's segment is known. */
  follows(replica: Replica): void;
}

/**
 * Brings fenced replicas to the end that a seal has found, by appending what they lack (docs/journal.md
 * 2.7, S4). What a call that is cut off has copied stays and is right: the next one goes on behind it.
 */
export async function recoverSegments(
  port: RecoverPort,
  request: RecoverRequest,
): Promise<FenceResult[]> {
  checkItems(port, request.segments.length);
  const sources = new Sources(port.transport);
  try {
    const { takeoversRunningMax } = port.limits;
    return await inParallel(request.segments, takeoversRunningMax, async (order) => {
      try {
        return await recover(port, order, sources);
      } catch (thrown) {
        return notFenced(toStatus(operatingErrorOf(thrown)));
      }
    });
  } finally {
    await sources.close();
  }
}

async function recover(
  port: RecoverPort,
  order: RecoverSegment,
  sources: Sources,
): Promise<FenceResult> {
  const segmentId = segmentIdOfBytes(order.segmentId);
  const replica = port.replica(segmentId);
  if (replica === undefined) return notFenced(segmentUnknown(segmentId));
  let source = 0;
  checkFence(replica, order);
  while (replica.stored.length < order.length) {
    const node = order.sources[source];
    if (node === undefined) throw noSource(segmentId, replica.stored.length, order.length);
    const fetched = await sources.fetch(node.address, {
      segmentId: order.segmentId,
      epoch: order.epoch,
      fromLength: replica.stored.length,
      toLength: order.length,
    });
    // A seal with a higher epoch may have begun while the frames were under way.
    checkFence(replica, order);
    if (fetched === undefined || !append(port, replica, order, fetched)) source++;
  }
  await port.storage.sync();
  checkFence(replica, order);
  return fencedState(replica);
}

/** Whether the log has got longer. */
function append(
  port: RecoverPort,
  replica: Replica,
  { baseOffset }: RecoverSegment,
  fetched: FetchResponse,
): boolean {
  const before = replica.stored.length;
  try {
    storeFrames(port.storage, replica, fetched);
  } finally {
    const { length } = replica.stored;
    port.driver.run(replica, { kind: 'recovered', length, baseOffset });
    port.follows(replica);
  }
  return replica.stored.length > before;
}

/** Throws FENCED or DAMAGED. */
function checkFence({ state, stored }: Replica, { epoch }: RecoverSegment): void {
  const { segmentId, fencedEpoch } = { ...state.identity, ...state };
  if (stored.damaged) {
    throw new OperatingError('DAMAGED', `segment ${segmentId} fails its checksums here`);
  }
  if (canRecover(state, epoch)) return;
  const message = `segment ${segmentId} is not fenced with epoch ${epoch} here, but with ${fencedEpoch}, or it is sealed`;
  throw new OperatingError('FENCED', message, { epoch: fencedEpoch });
}

function noSource(segmentId: SegmentId, length: number, wanted: number): OperatingError {
  const message = `no journal gave what segment ${segmentId} lacks behind record ${length}, of ${wanted}`;
  return new OperatingError('UNAVAILABLE', message);
}

/** Connections to the journals that frames are fetched from, for one call. */
class Sources {
  readonly #transport: Transport;
  readonly #clients = new Map<string, RpcClient>();

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Undefined when that journal does not give them: another one may. */
  async fetch(address: string, request: FetchRequest): Promise<FetchResponse | undefined> {
    const client = this.#clients.get(address) ?? this.#transport.connect(address, 'bulk');
    this.#clients.set(address, client);
    try {
      const answer = await client.call(journalReplicaMethods.fetch, request);
      return refusalOf(answer.status) === undefined ? answer : undefined;
    } catch (thrown) {
      operatingErrorOf(thrown);
      return undefined;
    }
  }

  async close(): Promise<void> {
    const clients = [...this.#clients.values()];
    await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()));
  }
}
