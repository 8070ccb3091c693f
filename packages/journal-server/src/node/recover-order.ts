import { type Clock, delay, OperatingError, type SegmentId } from '@robustmq/core';
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
import { type LogTarget, storeFrames } from './copied-frames.ts';
import { copySegment } from './copy-order.ts';
import { fencedState, notFenced, untilDurable } from './fence-order.ts';
import { inParallel } from './in-parallel.ts';
import { operatingErrorOf } from './operating-error.ts';
import { peerTimeoutMs } from './peer-timeout.ts';
import type { Replica } from './replica.ts';

/** What copying needs besides. */
export interface RecoverPort extends ControlPort {
  readonly transport: Transport;
  readonly clock: Clock;
  /** Segments that an order is copying here. */
  readonly copying: Set<SegmentId>;
  /** The base of the replica's segment is known. */
  follows(replica: Replica): void;
}

/** No room in memory: the disk is given so long, so many times. */
const roomRetryMs = 100;
const roomRetriesMax = 50;

/**
 * Brings fenced replicas to the end that a seal has found, by appending what they lack (docs/journal.md
 * 2.7, S4), and makes the ones of sealed segments that are lost. What a call that is cut off has copied stays
 * and is right: the next one goes on behind it.
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
  if (replica !== undefined && !isToReplace(replica, order)) {
    return complete(port, replica, order, sources);
  }
  if (order.copy === undefined) return notFenced(segmentUnknown(segmentId));
  await copySegment(port, order, segmentId, async (stored) => {
    const target = { stored, state: { baseOffset: order.baseOffset } };
    await fill(port, order, sources, {
      target,
      check: () => {
        if (port.storage.copyOf(segmentId) === stored) return;
        throw new OperatingError('SEGMENT_UNKNOWN', `segment ${segmentId} was deleted here`);
      },
      grown: () => {},
    });
  });
  const copied = port.replica(segmentId);
  return copied === undefined ? notFenced(segmentUnknown(segmentId)) : fencedState(copied);
}

/**
 * A damaged replica of a sealed segment. Whoever orders has fenced it for the seal: an order from before
 * another seal does not touch it.
 */
function isToReplace({ stored, state }: Replica, { copy, epoch }: RecoverSegment): boolean {
  return stored.damaged && copy !== undefined && state.fencedEpoch === epoch;
}

async function complete(
  port: RecoverPort,
  replica: Replica,
  order: RecoverSegment,
  sources: Sources,
): Promise<FenceResult> {
  const { stored, state } = replica;
  await fill(port, order, sources, {
    // One that never got a frame does not know where its segment begins.
    target: { stored, state: { baseOffset: state.baseOffset ?? order.baseOffset } },
    check: () => {
      if (port.replica(replica.stored.manifest.segmentId) !== replica) {
        throw new OperatingError('SEGMENT_UNKNOWN', 'the replica was deleted while it was filled');
      }
      checkFence(replica, order);
    },
    grown: () => {
      const { length } = replica.stored;
      port.driver.run(replica, { kind: 'recovered', length, baseOffset: order.baseOffset });
      port.follows(replica);
    },
  });
  await untilDurable(port, [replica]);
  return port.replica(stored.manifest.segmentId) === replica
    ? fencedState(replica)
    : notFenced(segmentUnknown(stored.manifest.segmentId));
}

/** What frames are put behind. */
interface Filling {
  readonly target: LogTarget;
  /** Throws when nothing may be put there any more: anything may have happened while frames were under way. */
  readonly check: () => void;
  readonly grown: () => void;
}

/** Fetches what lacks up to the ordered length, from one source after the other; durable when it resolves. */
async function fill(
  port: RecoverPort,
  order: RecoverSegment,
  sources: Sources,
  { target, check, grown }: Filling,
): Promise<void> {
  const { stored } = target;
  let source = 0;
  let roomRetries = 0;
  check();
  while (stored.length < order.length) {
    const node = order.sources[source];
    if (node === undefined) {
      throw noSource(stored.manifest.segmentId, stored.length, order.length);
    }
    const fetched = await sources.fetch(node.address, {
      segmentId: order.segmentId,
      epoch: order.epoch,
      fromLength: stored.length,
      toLength: order.length,
    });
    check();
    const before = stored.length;
    let isFull = false;
    try {
      if (fetched !== undefined) storeFrames(port.storage, target, fetched);
    } catch (thrown) {
      isFull = isExhausted(thrown) && roomRetries++ < roomRetriesMax;
      if (!isFull) throw thrown;
    } finally {
      grown();
    }
    if (isFull) {
      await delay(port.clock, roomRetryMs);
      check();
    } else if (stored.length > before) roomRetries = 0;
    else source++;
  }
  await port.storage.sync();
  check();
}

function isExhausted(thrown: unknown): boolean {
  return thrown instanceof OperatingError && thrown.code === 'RESOURCE_EXHAUSTED';
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
      const options = { timeoutMs: peerTimeoutMs };
      const answer = await client.call(journalReplicaMethods.fetch, request, options);
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
