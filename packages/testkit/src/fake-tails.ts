import { TurnTask, toOperatingError } from '@robustmq/core';
import {
  type MessageStream,
  type Segment,
  SegmentState,
  type TailChunk,
  type TailOpen,
  type TailRequest,
  type TailResponse,
  toStatus,
} from '@robustmq/rpc';
import { frameMatches, type FakeShard } from './fake-shard.ts';

interface Found {
  readonly shard: FakeShard;
  readonly segment: Segment;
}

interface FakeTail {
  readonly open: TailOpen;
  position: number;
  found: Found | undefined;
  /** The client knows how far it is, even if nothing matched. */
  told: boolean;
}

const chunkBytesMax = 64 * 1024;

/** The tails of one stream: send within the credit what is committed as it is. */
export class FakeTails {
  readonly #stream: MessageStream<TailResponse>;
  readonly #find: (shardId: number, offset: number) => Found;
  readonly #tails = new Map<number, FakeTail>();
  readonly #turn = new TurnTask(() => this.#send());
  #creditBytes = 0;

  constructor(
    stream: MessageStream<TailResponse>,
    find: (shardId: number, offset: number) => Found,
  ) {
    this.#stream = stream;
    this.#find = find;
  }

  take(request: TailRequest): void {
    this.#creditBytes += request.creditBytes;
    for (const open of request.opens) {
      const tail = { open, position: open.fromOffset, found: undefined, told: false };
      this.#tails.set(open.tailId, tail);
    }
    for (const { tailId } of request.closes) this.#tails.delete(tailId);
    this.schedule();
  }

  schedule(): void {
    this.#turn.schedule();
  }

  #send(): void {
    const chunks: TailChunk[] = [];
    for (const tail of this.#tails.values()) {
      const chunk = this.#nextChunk(tail);
      if (chunk === undefined) continue;
      this.#creditBytes -= chunk.frames.length;
      const isLast = chunk.segmentEnded || chunk.status !== undefined;
      if (isLast) this.#tails.delete(tail.open.tailId);
      chunks.push(chunk);
    }
    if (chunks.length === 0) return;
    this.#stream.send({ chunks });
    this.schedule();
  }

  #nextChunk(tail: FakeTail): TailChunk | undefined {
    if (this.#creditBytes <= 0) return undefined;
    const { tailId, shardId, filterTokens } = tail.open;
    try {
      tail.found ??= this.#find(shardId, tail.position);
      const { shard, segment } = tail.found;
      const piece = pieceOf(shard, segment, tail.position, chunkBytesMax, filterTokens);
      const isNews = piece.nextOffset > tail.position || piece.segmentEnded || !tail.told;
      if (!isNews) return undefined;
      tail.position = piece.nextOffset;
      tail.told = true;
      return { tailId, status: undefined, aborted: [], ...piece };
    } catch (thrown) {
      const status = toStatus(toOperatingError(thrown));
      const nothing = { frames: Buffer.alloc(0), nextOffset: tail.position, segmentEnded: false };
      return { tailId, status, aborted: [], highWatermark: 0, lastStableOffset: 0, ...nothing };
    }
  }
}

type Piece = Omit<TailChunk, 'tailId' | 'status' | 'aborted'>;

/** What one segment has from an offset on. */
export function pieceOf(
  shard: FakeShard,
  segment: Segment,
  offset: number,
  bytesMax: number,
  tokens: readonly number[],
): Piece {
  const frames = shard.framesFrom(segment, offset, bytesMax);
  const last = frames.at(-1);
  const nextOffset = last === undefined ? offset : last.lastOffset + 1;
  const wasRemoved = !shard.segments.includes(segment);
  const isSealed = segment.state === SegmentState.SEALED;
  const matching = frames.filter((frame) => frameMatches(frame, tokens));
  return {
    frames: Buffer.concat(matching.map((frame) => frame.bytes)),
    nextOffset,
    highWatermark: shard.endOffset,
    lastStableOffset: shard.endOffset,
    segmentEnded: wasRemoved || (isSealed && nextOffset >= segment.endOffset),
  };
}
