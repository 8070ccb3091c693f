import { OperatingError, toOperatingError } from '@robustmq/core';
import {
  type ActivateSegment,
  type Authority,
  errorOfStatus,
  type FenceResult,
  type FenceSegment,
  journalControlMethods,
  type PrepareReplica,
  type RecoverSegment,
  refusalOf,
  type ReplicaSummary,
  type RpcClient,
  type SealedSegment,
  type Status,
  type StoreCatalogRequest,
} from '@robustmq/rpc';
import type { Image } from './image.ts';
import type { NodeClients } from './node-clients.ts';

/** Items in one call, as the contract says. */
const itemsPerCall = 1_000;
/**
 * How long journals may take, in ms. Whoever asks placement to open or roll a segment waits 10 s (the
 * transport's default). All that is done for it one after the other, with a journal that hangs, is shorter:
 * 300 ms to 3 s for fences, 3 s to copy for a seal, 1 s for the copy of the catalog, 2 s until it does not
 * take its replica and another one does, 2 s for the leader (`Activator`). So the caller gets an answer.
 */
const fenceTimeoutMs = 3_000;
const recoverTimeoutMs = 3_000;
const prepareTimeoutMs = 2_000;
const copyTimeoutMs = 1_000;
/** Nobody waits for these. */
const backgroundTimeoutMs = 10_000;
/** Whole segments are copied. What is done when it is over is gone on with the next time. */
const recoverSealedTimeoutMs = 60_000;

/** What became of one order: undefined when it was carried out. */
export type OrderOutcome = OperatingError | undefined;
/** What a replica answered to a fence; an error when the journal did not answer at all. */
export type FenceOutcome = FenceResult | OperatingError;

interface ControlAnswer<Result> {
  readonly status: Status | undefined;
  readonly results: readonly Result[];
}

/**
 * Orders to journals, in batches. Each call answers item by item, in order; a journal that cannot be
 * reached or refuses the call gives its error for every item. Nothing rejects.
 */
export class JournalOrders {
  readonly #image: Image;
  readonly #clients: NodeClients;
  readonly #authority: () => Authority;
  readonly #onUnreachable: (nodeId: string, incarnation: number) => void;
  readonly #onOldStore: (error: OperatingError) => void;
  #orderNumber = 0;

  constructor(options: {
    readonly image: Image;
    readonly clients: NodeClients;
    /** In whose name. */
    readonly authority: () => Authority;
    /** Told of a journal that refuses connections. */
    readonly onUnreachable: (nodeId: string, incarnation: number) => void;
    /** Told when a journal has heard of changes that this placement's store does not have. */
    readonly onOldStore: (error: OperatingError) => void;
  }) {
    this.#image = options.image;
    this.#clients = options.clients;
    this.#authority = options.authority;
    this.#onUnreachable = options.onUnreachable;
    this.#onOldStore = options.onOldStore;
  }

  /** A refusal that the chain explains, which has reached that epoch meanwhile, says nothing about the store. */
  prepare(nodeId: string, replicas: readonly PrepareReplica[]): Promise<OrderOutcome[]> {
    return this.#order(
      nodeId,
      replicas,
      (batch, call) =>
        call(journalControlMethods.prepare, { authority: this.#authority(), replicas: batch }),
      {
        timeoutMs: prepareTimeoutMs,
        isOvertaken: ({ shardId, epoch }) =>
          (this.#image.shards.get(shardId)?.value.shard?.epoch ?? 0) >= epoch,
      },
    );
  }

  activate(nodeId: string, segments: readonly ActivateSegment[]): Promise<OrderOutcome[]> {
    return this.#order(nodeId, segments, (batch, call) =>
      call(journalControlMethods.activate, { authority: this.#authority(), segments: batch }),
    );
  }

  sealNotify(nodeId: string, segments: readonly SealedSegment[]): Promise<OrderOutcome[]> {
    return this.#order(nodeId, segments, (batch, call) =>
      call(journalControlMethods.sealNotify, { authority: this.#authority(), segments: batch }),
    );
  }

  delete(nodeId: string, segmentIds: readonly Buffer[]): Promise<OrderOutcome[]> {
    return this.#order(nodeId, segmentIds, (batch, call) =>
      call(journalControlMethods.delete, {
        authority: this.#authority(),
        segmentIds: batch,
        leftover: undefined,
      }),
    );
  }

  /**
   * Deletes replicas of segments that go on without the journal: never after a later {@link fenceMember}, however
   * late the order comes.
   */
  deleteLeftovers(nodeId: string, segmentIds: readonly Buffer[]): Promise<OrderOutcome[]> {
    const incarnation = this.#image.liveNode(nodeId)?.incarnation ?? 0;
    return this.#order(nodeId, segmentIds, (batch, call) => {
      const leftover = { incarnation, order: ++this.#orderNumber };
      const request = { authority: this.#authority(), segmentIds: batch, leftover };
      return call(journalControlMethods.delete, request);
    });
  }

  /** Fences replicas that are to count as full: what is a leftover before is none any more. */
  fenceMember(nodeId: string, segments: readonly FenceSegment[]): Promise<FenceOutcome[]> {
    return this.#inBatches(
      nodeId,
      segments,
      (batch, call) => {
        const order = ++this.#orderNumber;
        const request = { authority: this.#authority(), segments: batch, order };
        return call(journalControlMethods.fence, request);
      },
      fenceTimeoutMs,
    );
  }

  fence(nodeId: string, segments: readonly FenceSegment[]): Promise<FenceOutcome[]> {
    return this.#inBatches(
      nodeId,
      segments,
      (batch, call) =>
        call(journalControlMethods.fence, {
          authority: this.#authority(),
          segments: batch,
          order: 0,
        }),
      fenceTimeoutMs,
    );
  }

  /** Completes fenced replicas; each answers as to a fence. */
  recover(nodeId: string, segments: readonly RecoverSegment[]): Promise<FenceOutcome[]> {
    return this.#inBatches(
      nodeId,
      segments,
      (batch, call) =>
        call(journalControlMethods.recover, { authority: this.#authority(), segments: batch }),
      recoverTimeoutMs,
    );
  }

  /** Completes replicas of sealed segments, and makes those that are lost. */
  recoverSealed(nodeId: string, segments: readonly RecoverSegment[]): Promise<FenceOutcome[]> {
    return this.#inBatches(
      nodeId,
      segments,
      (batch, call) =>
        call(journalControlMethods.recover, { authority: this.#authority(), segments: batch }),
      recoverSealedTimeoutMs,
    );
  }

  /** Gives a journal a copy of the catalog to keep. Rejects with an OperatingError. */
  async storeCatalog(nodeId: string, given: Omit<StoreCatalogRequest, 'authority'>): Promise<void> {
    const node = this.#image.liveNode(nodeId);
    if (node === undefined) throw away(nodeId);
    const request = { ...given, authority: this.#authority() };
    const answer = await this.#clients
      .at(node.address)
      .call(journalControlMethods.storeCatalog, request, { timeoutMs: copyTimeoutMs });
    const refusal = refusalOf(answer.status);
    if (refusal !== undefined) throw refusal;
  }

  /** All replicas of a journal. Rejects with an OperatingError. */
  inventory(nodeId: string): Promise<ReplicaSummary[]> {
    const node = this.#image.liveNode(nodeId);
    if (node === undefined) return Promise.reject(away(nodeId));
    const replicas: ReplicaSummary[] = [];
    const { promise, resolve, reject } = Promise.withResolvers<ReplicaSummary[]>();
    const stream = this.#clients.at(node.address).open(journalControlMethods.inventory, {
      message: (step) => {
        replicas.push(...step.replicas);
      },
      closed: (error) => {
        if (error === undefined) resolve(replicas);
        else reject(this.#noted(error));
      },
    });
    stream.send({ authority: this.#authority() });
    stream.end();
    return promise;
  }

  #noted(refusal: OperatingError): OperatingError {
    if (refusal.code === 'OLD_STORE') this.#onOldStore(refusal);
    return refusal;
  }

  async #order<Item>(
    nodeId: string,
    items: readonly Item[],
    ask: (batch: Item[], call: Call) => Promise<ControlAnswer<Status>>,
    options: { timeoutMs?: number; isOvertaken?: (item: Item) => boolean } = {},
  ): Promise<OrderOutcome[]> {
    const { timeoutMs = backgroundTimeoutMs, isOvertaken } = options;
    const outcomes = await this.#inBatches(nodeId, items, ask, timeoutMs);
    return items.map((item, at) => {
      const outcome = outcomes[at] ?? noAnswer(nodeId);
      const refusal = outcome instanceof OperatingError ? outcome : outcomeOf(outcome);
      if (refusal?.code === 'OLD_STORE' && isOvertaken?.(item) === true) {
        return new OperatingError('CONFLICT', `overtaken: ${refusal.message}`);
      }
      return refusal && this.#noted(refusal);
    });
  }

  async #inBatches<Item, Result>(
    nodeId: string,
    items: readonly Item[],
    ask: (batch: Item[], call: Call) => Promise<ControlAnswer<Result>>,
    timeoutMs: number,
  ): Promise<(Result | OperatingError)[]> {
    const batches: Promise<(Result | OperatingError)[]>[] = [];
    for (let at = 0; at < items.length; at += itemsPerCall) {
      batches.push(this.#ask(nodeId, items.slice(at, at + itemsPerCall), ask, timeoutMs));
    }
    return (await Promise.all(batches)).flat();
  }

  async #ask<Item, Result>(
    nodeId: string,
    batch: Item[],
    ask: (batch: Item[], call: Call) => Promise<ControlAnswer<Result>>,
    timeoutMs: number,
  ): Promise<(Result | OperatingError)[]> {
    const node = this.#image.liveNode(nodeId);
    if (node === undefined) return batch.map(() => away(nodeId));
    const client = this.#clients.at(node.address);
    try {
      const call: Call = (method, request) => client.call(method, request, { timeoutMs });
      const answer = await ask(batch, call);
      const refusal = refusalOf(answer.status);
      if (refusal !== undefined) return batch.map(() => this.#noted(refusal));
      return batch.map((_, at) => answer.results[at] ?? noAnswer(nodeId));
    } catch (thrown) {
      const error = retriable(toOperatingError(thrown), nodeId);
      if (error.code === 'UNAVAILABLE') this.#onUnreachable(nodeId, node.incarnation);
      return batch.map(() => error);
    }
  }
}

type Call = RpcClient['call'];

function outcomeOf(status: Status): OrderOutcome {
  return status.code === 0 ? undefined : errorOfStatus(status);
}

function away(nodeId: string): OperatingError {
  return new OperatingError('UNAVAILABLE', `journal ${nodeId} is away`);
}

/** A connection that was closed here, since the journal was started anew, is nobody's cancellation. */
function retriable(error: OperatingError, nodeId: string): OperatingError {
  if (error.code !== 'CANCELLED') return error;
  const message = `journal ${nodeId} was started anew while it was asked: try again`;
  return new OperatingError('INDETERMINATE', message);
}

function noAnswer(nodeId: string): OperatingError {
  return new OperatingError('INTERNAL', `journal ${nodeId} left an order without an answer`);
}
