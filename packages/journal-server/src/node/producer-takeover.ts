import { type Clock, nodeId, OperatingError, type SegmentId } from '@robustmq/core';
import {
  type ExportProducersResponse,
  journalReplicaMethods,
  type Node,
  refusalOf,
  type RpcClient,
  segmentIdToBytes,
  type Transport,
} from '@robustmq/rpc';
import { FrameFolder } from '../core/fold-frames.ts';
import { decodeProducerSnapshot, encodeProducerSnapshot } from '../core/producer-snapshot.ts';
import { type ProducerBudget, type ProducerLimits, ProducerState } from '../core/producer-state.ts';
import type { JournalStorage } from '../storage/storage.ts';
import type { JournalLimits } from './journal-limits.ts';
import { peerTimeoutMs } from './peer-timeout.ts';
import type { Replica } from './replica.ts';

export interface ProducerTakeoverOptions {
  readonly storage: JournalStorage;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly limits: JournalLimits;
  replica(segmentId: SegmentId): Replica | undefined;
}

/** The sealed segment before a new one. */
export interface PreviousSegment {
  readonly segmentId: SegmentId;
  /** Offset behind it: where the new one begins. */
  readonly endOffset: number;
  readonly fullNodes: readonly Node[];
}

/** The state at the end of the previous segment; `from` is the replica that still holds it in memory. */
export interface TakenProducers {
  readonly state: ProducerState;
  readonly from: Replica | undefined;
}

/**
 * Finds the producers at the end of a segment for the leader of the next one: from memory when this
 * node led it, else by folding this node's replica, else from a journal with a full copy.
 */
export class ProducerTakeover {
  readonly #options: ProducerTakeoverOptions;
  readonly #producerLimits: ProducerLimits;
  readonly #budget: ProducerBudget;
  /** Segments led before, whose producers are still in memory, oldest first. */
  readonly #closed = new Set<Replica>();
  /** Journals that are being asked, by address: thousands of shards that move at once share a connection. */
  readonly #peers = new Map<string, { readonly client: RpcClient; calls: number }>();

  constructor(options: ProducerTakeoverOptions) {
    const { limits } = options;
    this.#options = options;
    this.#budget = { used: 0, max: limits.producersMax };
    this.#producerLimits = {
      entriesPerShardMax: limits.producersPerShardMax,
      idleExpiryMs: limits.producerIdleExpiryMs,
      protectedMs: limits.producerProtectedMs,
    };
  }

  /** Entries in memory, over all shards. */
  get producers(): number {
    return this.#budget.used;
  }

  empty(): ProducerState {
    return new ProducerState(this.#producerLimits, this.#budget);
  }

  /** An empty state that counts in no budget. */
  uncounted(): ProducerState {
    return new ProducerState(this.#producerLimits, { used: 0, max: Number.POSITIVE_INFINITY });
  }

  /** A segment is led no more: its producers wait in memory for the next leader, if none has them. */
  keep(replica: Replica): void {
    if (replica.aborted !== undefined) replica.state.leading = undefined;
    // It has folded batches that were never committed and are gone: a retry of one is no duplicate.
    if (replica.state.isCut) this.forget(replica);
    if (replica.state.leading === undefined) return;
    this.#closed.add(replica);
    for (const oldest of this.#closed) {
      if (this.#closed.size <= this.#options.limits.closedProducerStatesMax) break;
      this.forget(oldest);
    }
  }

  forget(replica: Replica): void {
    this.#closed.delete(replica);
    if (replica.isLeader) return;
    replica.state.leading?.producers.clear();
    replica.state.leading = undefined;
  }

  /** Throws or rejects when nobody who has the segment can be asked now. */
  takeOver(previous: PreviousSegment): TakenProducers | Promise<TakenProducers> {
    const { segmentId, endOffset } = previous;
    const replica = this.#options.replica(segmentId);
    if (replica === undefined || !isUsable(replica, endOffset)) {
      return this.#askOthers(previous).then((state) => ({ state, from: undefined }));
    }
    const inMemory = replica.state.leading?.producers;
    if (inMemory !== undefined && replica.endOffset === endOffset) {
      return { state: inMemory, from: replica };
    }
    return this.#fold(replica, endOffset).then((state) => ({ state, from: undefined }));
  }

  /** The new leader has the state now. The old one keeps what its readers need. */
  taken({ state, from }: TakenProducers): void {
    if (from === undefined) return;
    from.aborted = state.aborted;
    state.startSegment();
    this.#closed.delete(from);
    if (!from.isLeader) from.state.leading = undefined;
  }

  /** Nobody took it after all. */
  abandon({ state, from }: TakenProducers): void {
    if (from === undefined) state.clear();
  }

  async #fold(replica: Replica, endOffset: number): Promise<ProducerState> {
    const { storage, clock } = this.#options;
    const state = this.empty();
    const folder = new FrameFolder(state, endOffset, clock.monotonicMs());
    // The last snapshot may lie behind the end, among what was never committed.
    const fromLastSnapshot = replica.endOffset === endOffset;
    try {
      await storage.scan(replica.stored, { fromLastSnapshot }, (frame) => folder.fold(frame));
    } catch (thrown) {
      state.clear();
      throw thrown;
    }
    state.startSegment();
    return state;
  }

  async #askOthers(previous: PreviousSegment): Promise<ProducerState> {
    const { storage, clock } = this.#options;
    let failure: unknown = new OperatingError(
      'UNAVAILABLE',
      `no journal with segment ${previous.segmentId} was named: its producers cannot be taken over`,
    );
    for (const node of previous.fullNodes) {
      if (nodeId(node.nodeId) === storage.nodeId) continue;
      try {
        const answer = await this.#askFor(previous.segmentId, node.address);
        const refusal = refusalOf(answer.status);
        if (refusal !== undefined) throw refusal;
        const state = this.empty();
        const range = { start: 0, end: answer.snapshot.length };
        decodeProducerSnapshot(state, answer.snapshot, range, clock.monotonicMs());
        return state;
      } catch (thrown) {
        failure = thrown;
      }
    }
    throw failure;
  }

  async #askFor(segmentId: SegmentId, address: string): Promise<ExportProducersResponse> {
    const peer = this.#peers.get(address) ?? {
      client: this.#options.transport.connect(address, 'bulk'),
      calls: 0,
    };
    this.#peers.set(address, peer);
    peer.calls++;
    try {
      const request = { segmentId: segmentIdToBytes(segmentId) };
      const options = { timeoutMs: peerTimeoutMs };
      return await peer.client.call(journalReplicaMethods.exportProducers, request, options);
    } finally {
      peer.calls--;
      if (peer.calls === 0) {
        this.#peers.delete(address);
        await peer.client[Symbol.asyncDispose]();
      }
    }
  }

  /** The producers at the end of a sealed segment, for another journal. Throws SEGMENT_UNKNOWN. */
  async exportAt(segmentId: SegmentId): Promise<Buffer> {
    const replica = this.#options.replica(segmentId);
    const endOffset = replica?.sealedEndOffset;
    if (replica === undefined || endOffset === undefined || !isUsable(replica, endOffset)) {
      const message = `this journal has no full sealed copy of segment ${segmentId}: ask another one`;
      throw new OperatingError('SEGMENT_UNKNOWN', message);
    }
    const state = await this.#fold(replica, endOffset);
    const snapshot = encodeProducerSnapshot(state);
    state.clear();
    return snapshot;
  }
}

/** Whether the replica has everything up to the end, intact. */
function isUsable(replica: Replica, endOffset: number): boolean {
  return !replica.stored.damaged && replica.isBaseKnown && replica.endOffset >= endOffset;
}
