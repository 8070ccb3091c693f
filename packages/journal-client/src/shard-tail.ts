import {
  type CancelTimer,
  type Offset,
  offset,
  OperatingError,
  type ShardId,
  toOperatingError,
} from '@robustmq/core';
import { type AbortedTransaction, Isolation, refusalOf, type TailChunk } from '@robustmq/rpc';
import { checkedFrames } from './checked-frames.ts';
import type { ClientContext } from './client-context.ts';
import type { Tail, TailHandlers } from './journal-client.ts';
import { type LeaderRoute, leaderRoute, sameLeader } from './leader-route.ts';
import { retryDelayMs } from './retry-delay.ts';
import type { SegmentFinder, SegmentPlace } from './segment-finder.ts';
import type { ShardReader } from './shard-reader.ts';
import type { TailSink, TailStream } from './tail-stream.ts';

/**
 * Where the tail is.
 * - streaming: the leader of the open segment sends.
 * - reading: it reads what lies before the open segment.
 * - waiting: for the catalog, placement or a timer; `routeChanged` starts it again.
 * - paused: its reader is behind. - closed: for good.
 */
type TailState = 'streaming' | 'reading' | 'waiting' | 'paused' | 'closed';

/** What is followed. */
export interface TailTarget {
  readonly shardId: ShardId;
  readonly fromOffset: Offset;
  readonly readCommitted: boolean;
  readonly filterTokens: readonly number[];
}

/** What a tail works with. */
export interface TailParts {
  readonly finder: SegmentFinder;
  readonly reader: ShardReader;
  readonly onClosed: () => void;
}

/** Refusals in a row after which an offset is believed to be out of range. */
const refusalsMax = 3;

/** Follows one shard over the ends of its segments and over failovers, without gap or repeat. */
export class ShardTail implements Tail, TailSink {
  readonly #target: TailTarget;
  readonly #handlers: TailHandlers;
  readonly #context: ClientContext;
  readonly #parts: TailParts;
  readonly #endWatch: () => void;
  #position: number;
  #state: TailState = 'waiting';
  #route: LeaderRoute | undefined;
  #stream: TailStream | undefined;
  #tailId = 0;
  /** Counts changes of state, so that answers to an earlier one mean nothing. */
  #turn = 0;
  #refusals = 0;
  /** Something was read here: the shard has been as long as that. */
  #hasRead = false;
  /** Since when the shard is said to end before that. */
  #behindEndSinceMs: number | undefined;
  #cancelTimer: CancelTimer | undefined;

  constructor(
    target: TailTarget,
    handlers: TailHandlers,
    context: ClientContext,
    parts: TailParts,
  ) {
    this.#target = target;
    this.#handlers = handlers;
    this.#context = context;
    this.#parts = parts;
    this.#position = target.fromOffset;
    this.#endWatch = context.watch.on(target.shardId, () => this.#routeChanged());
    queueMicrotask(() => {
      if (this.#state === 'waiting') this.#start();
    });
  }

  get nextOffset(): Offset {
    return offset(this.#position);
  }

  resume(): void {
    if (this.#state === 'paused') this.#start();
  }

  close(): void {
    this.#enter('closed');
    this.#endWatch();
    this.#parts.onClosed();
  }

  chunk(chunk: TailChunk): void {
    const refusal = refusalOf(chunk.status);
    if (refusal !== undefined) {
      this.#onRefusal(refusal);
      return;
    }
    let frames: Buffer;
    try {
      frames = checkedFrames(chunk.frames, this.#position);
    } catch (thrown) {
      this.#onRefusal(toOperatingError(thrown));
      return;
    }
    if (chunk.nextOffset > this.#position) this.#refusals = 0;
    this.#deliver({ ...chunk, frames });
    if (chunk.segmentEnded && this.#state === 'streaming') this.#onSegmentEnd();
  }

  streamLost(error: OperatingError): void {
    this.#onRefusal(error);
  }

  /** Leaves the state before, with whatever is under way in it. */
  #enter(state: TailState): number {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#stream?.end(this.#tailId);
    this.#stream = undefined;
    this.#state = state;
    return ++this.#turn;
  }

  /** Goes on at the position, wherever that is now. */
  #start(): void {
    const { shardId } = this.#target;
    let place: SegmentPlace;
    try {
      place = this.#parts.finder.findKnown(shardId, this.#position);
    } catch (thrown) {
      this.#fail(toOperatingError(thrown));
      return;
    }
    const route = leaderRoute(this.#context.catalog, shardId);
    if (route !== undefined && this.#position >= route.baseOffset) this.#follow(route);
    else if (place.kind === 'end') this.#enter('waiting');
    else void this.#readOn();
  }

  #follow(route: LeaderRoute): void {
    const { shardId, readCommitted, filterTokens } = this.#target;
    this.#enter('streaming');
    this.#route = route;
    this.#stream = this.#context.connections.get(route).tails;
    this.#tailId = this.#stream.open(
      {
        shardId,
        fromOffset: this.#position,
        isolation: readCommitted ? Isolation.READ_COMMITTED : Isolation.READ_UNCOMMITTED,
        filterTokens: [...filterTokens],
        expectedEpoch: route.epoch,
      },
      this,
    );
  }

  /** Reads once from what lies before the open segment, then looks again. */
  async #readOn(): Promise<void> {
    const { shardId, readCommitted, filterTokens } = this.#target;
    const turn = this.#enter('reading');
    const before = this.#position;
    try {
      const result = await this.#parts.reader.read(shardId, {
        fromOffset: offset(before),
        bytesMax: this.#context.limits.tailReadBytes,
        waitMs: 0,
        readCommitted,
        filterTokens,
      });
      if (turn !== this.#turn) return;
      this.#deliver(result);
      if (turn !== this.#turn) return;
      if (this.#position > before) this.#start();
      else this.#onNoProgress();
    } catch (thrown) {
      if (turn === this.#turn) this.#onReadFailure(toOperatingError(thrown));
    }
  }

  #onReadFailure(error: OperatingError): void {
    if (error.retriable || error.code === 'CORRUPT_BATCH' || error.code === 'FENCED') {
      this.#onRefusal(error);
    } else if (this.#isHardToBelieve(error)) this.#onRefusal(error);
    else this.#fail(error);
  }

  /**
   * That the shard ends before what was read from it here. Placement may have been started from an old copy
   * of its store, which is found out soon; an end that an operator has cut back stays.
   */
  #isHardToBelieve({ code, hint: { earliestOffset } }: OperatingError): boolean {
    if (code !== 'OFFSET_OUT_OF_RANGE' || !this.#hasRead) return false;
    if (earliestOffset === undefined || earliestOffset > this.#position) return false;
    const { clock, limits } = this.#context;
    const nowMs = clock.monotonicMs();
    this.#behindEndSinceMs ??= nowMs;
    return nowMs - this.#behindEndSinceMs < limits.cutBelievedAfterMs;
  }

  #deliver(piece: {
    readonly frames: Buffer;
    readonly nextOffset: number;
    readonly highWatermark: number;
    readonly lastStableOffset: number;
    readonly aborted: readonly AbortedTransaction[];
  }): void {
    if (piece.nextOffset < this.#position) return;
    this.#hasRead ||= piece.nextOffset > this.#position;
    this.#behindEndSinceMs = undefined;
    this.#position = piece.nextOffset;
    const goesOn = this.#handlers.frames(
      piece.frames,
      offset(piece.nextOffset),
      offset(piece.highWatermark),
      offset(piece.lastStableOffset),
      piece.aborted,
    );
    if (!goesOn && this.#state !== 'closed') this.#enter('paused');
  }

  #routeChanged(): void {
    if (this.#state === 'waiting') {
      this.#start();
    } else if (this.#state === 'streaming') {
      const route = leaderRoute(this.#context.catalog, this.#target.shardId);
      const stays =
        route !== undefined && this.#route !== undefined && sameLeader(route, this.#route);
      if (!stays) this.#startOrAsk(route);
    }
  }

  #startOrAsk(route: LeaderRoute | undefined): void {
    if (route === undefined) void this.#askPlacement();
    else this.#start();
  }

  /** The catalog may not know yet how the chain goes on. */
  #onSegmentEnd(): void {
    const route = leaderRoute(this.#context.catalog, this.#target.shardId);
    if (route !== undefined && route.epoch !== this.#route?.epoch) this.#start();
    else this.#onNoProgress();
  }

  /** Nobody has said no, but it does not go on: each time in a row it waits longer. */
  #onNoProgress(): void {
    this.#refusals++;
    void this.#askPlacement();
  }

  #onRefusal(error: OperatingError): void {
    this.#context.countRetry(error.code);
    this.#refusals++;
    const isRepeated = error.code === 'OFFSET_OUT_OF_RANGE' && this.#refusals > refusalsMax;
    if (isRepeated && !this.#isHardToBelieve(error)) this.#fail(error);
    else void this.#askPlacement();
  }

  /** Asks where the shard is now, then starts: at once the first time, later after a while. */
  async #askPlacement(): Promise<void> {
    const { placement, clock, random } = this.#context;
    const turn = this.#enter('waiting');
    const [outcome] = await placement.resolveShards([this.#target.shardId]);
    if (turn !== this.#turn) return;
    if (outcome instanceof OperatingError && outcome.code === 'NOT_FOUND') {
      this.#fail(outcome);
    } else if (this.#refusals <= 1) {
      this.#start();
    } else {
      const delayMs = retryDelayMs(this.#refusals, random);
      this.#cancelTimer = clock.setTimer(delayMs, () => this.#start());
    }
  }

  #fail(error: OperatingError): void {
    this.close();
    this.#handlers.failed(error);
  }
}
