import { offset, OperatingError, type ShardId, toOperatingError } from '@robustmq/core';
import { Isolation, type ReadResponse, type Segment, SegmentState } from '@robustmq/rpc';
import { checkedFrames } from './checked-frames.ts';
import type { ClientContext } from './client-context.ts';
import type { ReadOptions, ReadResult } from './journal-client.ts';
import { type JournalPlace, journalPlace } from './leader-route.ts';
import { retryDelayMs } from './retry-delay.ts';
import { isSealed, type SegmentFinder } from './segment-finder.ts';

/** One read with everything filled in. */
interface ReadTask {
  readonly shardId: ShardId;
  readonly options: ReadOptions;
  readonly signal: AbortSignal;
  /** When the wait for data is over, on the monotonic clock. */
  readonly waitUntilMs: number;
}

const noBytes = Buffer.alloc(0);

/** Reads shards at any offset: over the ends of segments, and elsewhere when a journal does not serve. */
export class ShardReader {
  readonly #context: ClientContext;
  readonly #finder: SegmentFinder;
  /** The replica that served a shard's sealed segments last. */
  readonly #lastNodes = new Map<number, string>();

  constructor(context: ClientContext, finder: SegmentFinder) {
    this.#context = context;
    this.#finder = finder;
  }

  async read(shardId: ShardId, options: ReadOptions): Promise<ReadResult> {
    const { clock, closed } = this.#context;
    const signal =
      options.signal === undefined ? closed : AbortSignal.any([options.signal, closed]);
    const waitUntilMs = clock.monotonicMs() + options.waitMs;
    const task: ReadTask = { shardId, options, signal, waitUntilMs };
    let position: number = options.fromOffset;
    for (;;) {
      const response = await this.#readPersistently(task, position);
      if (response === undefined) return emptyResult(position);
      const ended = response.segmentEnded && response.nextOffset > position;
      if (response.frames.length > 0 || !ended) return this.#result(shardId, response);
      position = response.nextOffset;
    }
  }

  /** Reads from one segment, elsewhere and again until it works or patience has ended. */
  async #readPersistently(task: ReadTask, position: number): Promise<ReadResponse | undefined> {
    const { clock, limits } = this.#context;
    const giveUpAtMs = task.waitUntilMs + limits.patienceMs;
    let outOfRange = 0;
    for (let attempt = 1; ; attempt++) {
      task.signal.throwIfAborted();
      try {
        return await this.#readOnce(task, position);
      } catch (thrown) {
        task.signal.throwIfAborted();
        const error = toOperatingError(thrown);
        if (error.code === 'OFFSET_OUT_OF_RANGE') outOfRange++;
        if (!isWorthAnother(error, outOfRange) || clock.monotonicMs() > giveUpAtMs) throw error;
        this.#context.countRetry(error.code);
        await this.#resolveAgain(task, attempt);
      }
    }
  }

  /** Reads from the segment that holds `position`; undefined: there is nothing, and the wait is over. */
  async #readOnce(task: ReadTask, position: number): Promise<ReadResponse | undefined> {
    const { shardId, signal, waitUntilMs } = task;
    const { watch, clock } = this.#context;
    for (;;) {
      const place = await this.#finder.find(shardId, position);
      const waitMs = Math.max(0, Math.ceil(waitUntilMs - clock.monotonicMs()));
      if (place.kind === 'segment') return this.#readFrom(place.segment, task, position, waitMs);
      if (place.kind === 'unknown') throw this.#unknownOffset(shardId, position);
      if (waitMs === 0) return undefined;
      await watch.next(shardId, waitMs, signal);
      signal.throwIfAborted();
    }
  }

  async #readFrom(
    segment: Segment,
    task: ReadTask,
    position: number,
    waitMs: number,
  ): Promise<ReadResponse> {
    const { options, shardId } = task;
    const place = this.#placeFor(segment);
    const guard = this.#guard(segment, place, waitMs);
    try {
      const response = await this.#context.connections.get(place).reads.read(
        {
          shardId,
          fromOffset: position,
          bytesMax: options.bytesMax,
          waitMs: isSealed(segment) ? 0 : waitMs,
          isolation: options.readCommitted ? Isolation.READ_COMMITTED : Isolation.READ_UNCOMMITTED,
          filterTokens: [...(options.filterTokens ?? [])],
          scanBytesMax: 0,
          generation: segment.generation,
          expectedEpoch: segment.epoch,
        },
        AbortSignal.any([task.signal, guard.signal]),
      );
      if (response.segmentEnded && response.nextOffset === position) throw ended(segment);
      response.frames = checkedFrames(response.frames, position);
      if (isSealed(segment)) this.#lastNodes.set(shardId, place.nodeId);
      return response;
    } catch (thrown) {
      this.#lastNodes.delete(shardId);
      throw thrown;
    } finally {
      guard.end();
    }
  }

  /** Ends a read that waits at a journal which the catalog, asked now and then, does not name any more. */
  #guard(
    segment: Segment,
    place: JournalPlace,
    waitMs: number,
  ): { readonly signal: AbortSignal; end(): void } {
    const { clock, watch, placement, limits } = this.#context;
    const { shardId } = segment;
    const controller = new AbortController();
    const check = (): void => {
      if (!this.#serves(segment, place)) controller.abort(gone(place));
    };
    const ask = (): void => {
      void placement.resolveShards([shardId]).then(check);
      cancelTimer = clock.setTimer(limits.askPlacementAfterMs, ask);
    };
    let cancelTimer = clock.setTimer(waitMs + limits.askPlacementAfterMs, ask);
    const endWatch = watch.on(shardId, check);
    const end = (): void => {
      cancelTimer();
      endWatch();
    };
    return { signal: controller.signal, end };
  }

  #serves(segment: Segment, place: JournalPlace): boolean {
    const now = journalPlace(this.#context.catalog, place.nodeId);
    if (now?.incarnation !== place.incarnation || now.address !== place.address) return false;
    if (isSealed(segment)) return true;
    const last = this.#context.catalog.shard(segment.shardId)?.segments.at(-1);
    return last?.epoch === segment.epoch && last.state === segment.state;
  }

  /** Who to ask: of a sealed segment any full replica, preferably the last one; else the leader. */
  #placeFor(segment: Segment): JournalPlace {
    const { catalog } = this.#context;
    if (!isSealed(segment)) {
      const leader = journalPlace(catalog, segment.leaderNodeId);
      if (leader?.incarnation === segment.leaderIncarnation) return leader;
      throw noReplica(segment);
    }
    const places = segment.fullNodeIds
      .map((nodeId) => journalPlace(catalog, nodeId))
      .filter((place) => place !== undefined);
    const lastNode = this.#lastNodes.get(segment.shardId);
    const random = Math.floor(this.#context.random.next() * places.length);
    const place = places.find(({ nodeId }) => nodeId === lastNode) ?? places[random];
    if (place === undefined) throw noReplica(segment);
    return place;
  }

  /** Asks placement where the shard is now, then waits a little unless it is the first time. */
  async #resolveAgain({ shardId, signal }: ReadTask, attempt: number): Promise<void> {
    const { placement, watch, random } = this.#context;
    this.#finder.forget(shardId);
    const [outcome] = await placement.resolveShards([shardId]);
    if (outcome instanceof OperatingError && outcome.code === 'NOT_FOUND') throw outcome;
    if (attempt > 1) await watch.next(shardId, retryDelayMs(attempt, random), signal);
  }

  #unknownOffset(shardId: number, position: number): OperatingError {
    const shard = this.#context.catalog.shard(shardId);
    // It may have come while placement was asked.
    if (shard === undefined || this.#finder.findKnown(shardId, position).kind !== 'unknown') {
      return new OperatingError('UNAVAILABLE', `shard ${shardId} was not in the catalog yet`);
    }
    return new OperatingError(
      'OFFSET_OUT_OF_RANGE',
      `shard ${shardId} ends at ${shard.endOffset}, before offset ${position}`,
      { earliestOffset: shard.trimOffset },
    );
  }

  #result(shardId: number, response: ReadResponse): ReadResult {
    const knownEnd = this.#context.catalog.shard(shardId)?.endOffset ?? 0;
    return {
      frames: response.frames,
      nextOffset: offset(response.nextOffset),
      highWatermark: offset(Math.max(response.highWatermark, knownEnd)),
      lastStableOffset: offset(response.lastStableOffset),
      aborted: response.aborted,
    };
  }
}

function emptyResult(position: number): ReadResult {
  const end = offset(position);
  return {
    frames: noBytes,
    nextOffset: end,
    highWatermark: end,
    lastStableOffset: end,
    aborted: [],
  };
}

/** An offset out of range is believed the second time, when placement was asked in between. */
function isWorthAnother(error: OperatingError, outOfRange: number): boolean {
  if (error.code === 'OFFSET_OUT_OF_RANGE') return outOfRange === 1;
  return error.retriable || error.code === 'FENCED' || error.code === 'CORRUPT_BATCH';
}

function noReplica({ shardId, baseOffset, state }: Segment): OperatingError {
  const sealing = state === SegmentState.SEALING ? ', which is being sealed' : '';
  return new OperatingError(
    'UNAVAILABLE',
    `no journal is up that has the segment of shard ${shardId} from ${baseOffset}${sealing}`,
  );
}

function ended({ shardId, baseOffset }: Segment): OperatingError {
  return new OperatingError(
    'CONFLICT',
    `the segment of shard ${shardId} from ${baseOffset} has ended; its chain has to be read again`,
  );
}

function gone({ nodeId, address }: JournalPlace): OperatingError {
  return new OperatingError(
    'UNAVAILABLE',
    `journal ${nodeId} at ${address} does not serve any more`,
  );
}
