import { assert, type Clock, OperatingError } from '@robustmq/core';
import {
  type RollSegment,
  type RollSegmentsRequest,
  type Segment,
  SegmentState,
  type Shard,
} from '@robustmq/rpc';
import { beginSeal, openNext, type SegmentEnd } from '../core/chain.ts';
import type { Activator } from './activator.ts';
import { shardOf } from './image.ts';
import type { Ledger } from './ledger.ts';
import type { Opener, Prepared } from './opener.ts';
import { epochsOfRoll, type RollPreparer } from './roll-preparer.ts';
import { refuseToRoll, unsealedOf } from './roll-refusal.ts';
import { sealedChange } from './sealed-change.ts';

export interface RollerOptions {
  readonly ledger: Ledger;
  readonly opener: Opener;
  readonly preparer: Pick<RollPreparer, 'take'>;
  readonly activator: Activator;
  readonly clock: Clock;
  /** Told of each segment that was sealed; `removed` when it was empty. */
  readonly onSealed: (segment: Segment, removed: boolean) => void;
}

/** How one segment fared: undefined when it is sealed at the end that was asked for. */
export type RollOutcome = OperatingError | undefined;

/**
 * Rolls segments whose frozen leader knows the end (docs/journal.md 2.6): no fence is needed, and the
 * next segment is opened in the same transaction. Asking again for a roll that was done is answered as
 * if it were done now, so a leader whose answer was lost just asks again.
 */
export class Roller {
  readonly #options: RollerOptions;

  constructor(options: RollerOptions) {
    this.#options = options;
  }

  /**
   * The outcomes, in the order of the request. What is prepared is done at once; what is not waits for
   * journals, and nobody for it but the answer.
   */
  async roll(request: RollSegmentsRequest): Promise<RollOutcome[]> {
    const items = new Map(request.segments.map((item) => [item.shardId, item]));
    const valid = [...items.values()].filter((item) => this.#refusal(request, item) === undefined);
    const wanting = valid.filter((item) => item.openNext);
    const full = new Map(wanting.map((item) => [item.shardId, item.fullNodeIds]));
    const ready = this.#options.preparer.take(full);
    const isReady = ({ shardId, openNext: opens }: RollSegment): boolean =>
      !opens || ready.has(shardId);
    const errors = await Promise.all([
      this.#finish(request, valid.filter(isReady), ready),
      this.#prepareAndFinish(
        request,
        valid.filter((item) => !isReady(item)),
      ),
    ]);
    const error = errors.find((one) => one !== undefined);
    return request.segments.map((item) => this.#outcome(request, item, error));
  }

  async #prepareAndFinish(
    request: RollSegmentsRequest,
    items: readonly RollSegment[],
  ): Promise<RollOutcome> {
    if (items.length === 0) return undefined;
    const full = new Map(items.map((item) => [item.shardId, item.fullNodeIds]));
    const prepared = await this.#options.opener.prepare([...full.keys()], epochsOfRoll, full);
    return this.#finish(request, items, prepared);
  }

  async #finish(
    request: RollSegmentsRequest,
    items: readonly RollSegment[],
    prepared: ReadonlyMap<number, Prepared | OperatingError>,
  ): Promise<RollOutcome> {
    if (items.length === 0) return undefined;
    const { opened, error } = await this.#record(request, items, prepared);
    await this.#options.activator.activate(opened);
    return error;
  }

  async #record(
    request: RollSegmentsRequest,
    valid: readonly RollSegment[],
    prepared: ReadonlyMap<number, Prepared | OperatingError>,
  ): Promise<{ opened: Set<number>; error: RollOutcome }> {
    const { ledger, clock, onSealed, opener } = this.#options;
    const items = new Map(valid.map((item) => [item.shardId, item]));
    const sealedSegments = new Map<number, { segment: Segment; removed: boolean }>();
    const opened = new Set<number>();
    const sealedAtMs = clock.wallMs();
    const { changed, error } = await ledger.changeShards([...items.keys()], 2, (stored) => {
      const { shardId } = shardOf(stored);
      const item = items.get(shardId);
      assert(item !== undefined, `a roll of shard ${shardId} was asked for`);
      if (this.#refusal(request, item) !== undefined) return undefined;
      const sealing = { ...stored, shard: beginSeal(shardOf(stored)) };
      const { change, sealed } = sealedChange(sealing, endOf(request, item, sealedAtMs));
      sealedSegments.set(shardId, sealed);
      opened.delete(shardId);
      const next = prepared.get(shardId);
      const shard = shardOf(change.stored);
      if (next === undefined || next instanceof OperatingError) return change;
      if (!opener.canOpen(shard, next)) return change;
      opened.add(shardId);
      const withNext = openNext(shard, next.segmentId, next.replicas);
      return { ...change, stored: { ...change.stored, shard: withNext } };
    });
    for (const [shardId, next] of prepared) {
      if (next instanceof OperatingError) continue;
      opener.settle(next, opened.has(shardId) && changed.has(shardId));
    }
    for (const shardId of changed) {
      const sealed = sealedSegments.get(shardId);
      if (sealed !== undefined) onSealed(sealed.segment, sealed.removed);
    }
    return { opened: new Set([...opened].filter((shardId) => changed.has(shardId))), error };
  }

  /** Why an item cannot be rolled as the chain is now; undefined when it can. */
  #refusal(request: RollSegmentsRequest, item: RollSegment): OperatingError | undefined {
    const { image } = this.#options.ledger;
    const refusal = refuseToRoll(image, request, item);
    const segment = unsealedOf(image, item.shardId);
    if (refusal !== undefined || segment === undefined) return refusal;
    const full = new Set(item.fullNodeIds.filter((id) => segment.replicaNodeIds.includes(id)));
    if (full.size < segment.ackQuorum || item.endOffset < segment.baseOffset) {
      const name = `segment ${item.segmentId.toString('hex')} of shard ${item.shardId}`;
      const message = `${name}: ${full.size} full replicas and end ${item.endOffset} do not fit`;
      return new OperatingError('INVALID_ARGUMENT', message);
    }
    return undefined;
  }

  /**
   * After the transactions: sealed as asked, now or before, or why not. A leader that is told of an error
   * which means "not done" goes on, so each item is judged by what the store has for it.
   */
  #outcome(
    request: RollSegmentsRequest,
    item: RollSegment,
    error: OperatingError | undefined,
  ): RollOutcome {
    const shard = this.#shard(item.shardId);
    const sealed = shard?.segments.find((segment) => segment.segmentId.equals(item.segmentId));
    const isSealed = sealed?.state === SegmentState.SEALED && sealed.endOffset === item.endOffset;
    if (isSealed || (shard !== undefined && wasEmpty(shard, item))) return undefined;
    const overtaken = new OperatingError('CONFLICT', 'the roll was overtaken');
    return this.#refusal(request, item) ?? error ?? overtaken;
  }

  #shard(shardId: number): Shard | undefined {
    return this.#options.ledger.image.shards.get(shardId)?.value.shard;
  }
}

/** Whether the segment was empty and has left the chain, which goes on where it began. */
function wasEmpty(shard: Shard, item: RollSegment): boolean {
  const isThere = shard.segments.some((segment) => segment.segmentId.equals(item.segmentId));
  return !isThere && shard.endOffset === item.endOffset && shard.epoch > item.epoch;
}

/** Who asks is alive, so it comes first: the next leader gets the producers from the first that answers. */
function endOf(request: RollSegmentsRequest, item: RollSegment, sealedAtMs: number): SegmentEnd {
  const { endOffset, sizeBytes, maxTimestampMs } = item;
  const others = item.fullNodeIds.filter((nodeId) => nodeId !== request.nodeId);
  const fullNodeIds =
    others.length < item.fullNodeIds.length ? [request.nodeId, ...others] : others;
  return { endOffset, fullNodeIds, sizeBytes, maxTimestampMs, sealedAtMs };
}
