import { type CancelTimer, type Clock, OperatingError, toOperatingError } from '@robustmq/core';
import {
  type AppendEntry,
  type AppendRequest,
  type AppendResponse,
  type AppendResult,
  journalBrokerMethods,
  type MessageStream,
  OffsetSpec,
  type OffsetQuery,
  type OffsetResult,
  type ReadRequest,
  type ReadResponse,
  type Segment,
  SegmentState,
  type ServiceRegistry,
  type StreamHandlers,
  type TailRequest,
  type TailResponse,
  toStatus,
} from '@robustmq/rpc';
import type { FakeShard } from './fake-shard.ts';
import { FakeTails, pieceOf } from './fake-tails.ts';

const noBytes = Buffer.alloc(0);

/** A long poll. */
interface WaitingRead {
  readonly stream: MessageStream<ReadResponse>;
  readonly readId: number;
  readonly cancelTimer: CancelTimer;
  /** Answers if there is something; true when it has. */
  tryAgain(): boolean;
}

/** What a fake journal shares with the tier it belongs to. */
export interface FakeTier {
  shard(shardId: number): FakeShard | undefined;
  readonly clock: Clock;
  /** A refusal to give instead of appending; the fault may also act on its own. */
  refusal(entry: AppendEntry, nodeId: string): OperatingError | undefined;
  /** Batch bytes that a client may have unanswered. */
  readonly creditBytes: number;
  /** Told of every request that reaches a journal. */
  appendRequested(nodeId: string, shardIds: readonly number[]): void;
  /** Told when a client breaks the contract. */
  violated(what: string): void;
}

/** One incarnation of a journal: what brokers call, with everything committed at once. */
export class FakeJournalNode {
  readonly nodeId: string;
  readonly incarnation: number;
  readonly #tier: FakeTier;
  readonly #streams = new Set<{ cancel(error?: OperatingError): void }>();
  readonly #tails = new Set<FakeTails>();
  readonly #waitingReads = new Set<WaitingRead>();
  /** While true nothing is answered any more, as by a stopped process. */
  frozen = false;

  constructor(nodeId: string, incarnation: number, tier: FakeTier) {
    this.nodeId = nodeId;
    this.incarnation = incarnation;
    this.#tier = tier;
  }

  register(registry: ServiceRegistry): void {
    registry.stream(journalBrokerMethods.append, (stream) => this.#append(stream));
    registry.stream(journalBrokerMethods.read, (stream) => this.#read(stream));
    registry.stream(journalBrokerMethods.tail, (stream) => this.#tail(stream));
    registry.unary(journalBrokerMethods.listOffsets, ({ queries }) => ({
      results: queries.map((query) => this.#lookUp(query)),
    }));
  }

  /** Breaks all streams, as a lost connection does. */
  cutStreams(): void {
    for (const stream of this.#streams) {
      stream.cancel(new OperatingError('UNAVAILABLE', `connection to ${this.nodeId} lost`));
    }
    this.#streams.clear();
    this.#tails.clear();
    for (const waiting of this.#waitingReads) this.#endRead(waiting);
  }

  /** Something was appended to the shard, or its chain has changed. */
  shardChanged(): void {
    if (this.frozen) return;
    for (const tails of this.#tails) tails.schedule();
    for (const waiting of this.#waitingReads) if (waiting.tryAgain()) this.#endRead(waiting);
  }

  leads(segment: Segment): boolean {
    return segment.leaderNodeId === this.nodeId && segment.leaderIncarnation === this.incarnation;
  }

  serves(segment: Segment): boolean {
    if (segment.state === SegmentState.OPEN) return this.leads(segment);
    return segment.fullNodeIds.includes(this.nodeId);
  }

  #append(stream: MessageStream<AppendResponse>): StreamHandlers<AppendRequest> {
    this.#streams.add(stream);
    const suspended = new Set<number>();
    let unansweredBytes = 0;
    stream.send({ results: [], creditBytes: this.#tier.creditBytes });
    return {
      message: ({ entries }) => {
        if (this.frozen) return;
        const shardIds = entries.map(({ shardId }) => shardId);
        this.#tier.appendRequested(this.nodeId, shardIds);
        const bytes = entries.reduce((sum, entry) => sum + entry.batch.length, 0);
        unansweredBytes += bytes;
        if (unansweredBytes > this.#tier.creditBytes) this.#tier.violated('append credit');
        const results = entries.map((entry) => this.#appendOne(entry, suspended));
        setImmediate(() => {
          if (this.frozen) return;
          unansweredBytes -= bytes;
          stream.send({ results, creditBytes: bytes });
        });
      },
      closed: () => this.#streams.delete(stream),
    };
  }

  #appendOne(entry: AppendEntry, suspended: Set<number>): AppendResult {
    const { appendId, shardId } = entry;
    try {
      if (entry.resume) suspended.delete(shardId);
      if (suspended.has(shardId)) throw new OperatingError('STREAM_SUSPENDED', 'resume first');
      const refusal = this.#tier.refusal(entry, this.nodeId);
      if (refusal !== undefined) throw refusal;
      const shard = this.#tier.shard(shardId);
      if (shard?.open === undefined || !this.leads(shard.open)) throw notLeader(shardId, shard);
      const { baseOffset, appendTimeMs, duplicate } = shard.append(
        entry,
        this.#tier.clock.wallMs(),
      );
      this.shardChanged();
      return { appendId, baseOffset, appendTimeMs, duplicate, status: undefined };
    } catch (thrown) {
      suspended.add(shardId);
      const status = toStatus(toOperatingError(thrown));
      return { appendId, baseOffset: 0, appendTimeMs: 0, duplicate: false, status };
    }
  }

  #read(stream: MessageStream<ReadResponse>): StreamHandlers<ReadRequest> {
    this.#streams.add(stream);
    return {
      message: (request) => {
        if (this.frozen) return;
        if (!request.cancel) this.#readOne(request, stream);
        for (const waiting of this.#waitingReads) {
          const isIt = waiting.stream === stream && waiting.readId === request.readId;
          if (request.cancel && isIt) this.#endRead(waiting);
        }
      },
      closed: () => this.#streams.delete(stream),
    };
  }

  #readOne(request: ReadRequest, stream: MessageStream<ReadResponse>): void {
    const answer = (isLast: boolean): boolean => {
      const response = this.#answerRead(request);
      const isEmpty = response.status === undefined && response.frames.length === 0;
      if (isEmpty && !response.segmentEnded && !isLast) return false;
      stream.send(response);
      return true;
    };
    if (answer(request.waitMs === 0)) return;
    const { readId } = request;
    const cancelTimer = this.#tier.clock.setTimer(request.waitMs, () => {
      this.#waitingReads.delete(waiting);
      if (!this.frozen) answer(true);
    });
    const waiting: WaitingRead = { stream, readId, cancelTimer, tryAgain: () => answer(false) };
    this.#waitingReads.add(waiting);
  }

  #endRead(waiting: WaitingRead): void {
    waiting.cancelTimer();
    this.#waitingReads.delete(waiting);
  }

  #answerRead(request: ReadRequest): ReadResponse {
    const { readId, shardId, fromOffset } = request;
    const empty = {
      readId,
      frames: noBytes,
      nextOffset: fromOffset,
      highWatermark: 0,
      lastStableOffset: 0,
      segmentEnded: false,
      aborted: [],
    };
    try {
      const { shard, segment } = this.#find(shardId, fromOffset);
      const piece = pieceOf(shard, segment, fromOffset, request.bytesMax, request.filterTokens);
      return { ...empty, ...piece, status: undefined };
    } catch (thrown) {
      return { ...empty, status: toStatus(toOperatingError(thrown)) };
    }
  }

  #find(shardId: number, offset: number): { shard: FakeShard; segment: Segment } {
    const shard = this.#tier.shard(shardId);
    const segment = shard?.segmentAt(offset);
    if (shard !== undefined && offset < shard.trimOffset) throw outOfRange(shard, offset);
    if (shard === undefined || segment === undefined || !this.serves(segment)) {
      throw notLeader(shardId, shard);
    }
    if (offset > shard.endOffset) throw outOfRange(shard, offset);
    return { shard, segment };
  }

  #tail(stream: MessageStream<TailResponse>): StreamHandlers<TailRequest> {
    this.#streams.add(stream);
    const tails = new FakeTails(stream, (shardId, offset) => this.#find(shardId, offset));
    this.#tails.add(tails);
    return {
      message: (request) => {
        if (!this.frozen) tails.take(request);
      },
      closed: () => {
        this.#streams.delete(stream);
        this.#tails.delete(tails);
      },
    };
  }

  #lookUp(query: OffsetQuery): OffsetResult {
    const { shardId, spec } = query;
    const none = { shardId, offset: 0, timestampMs: 0, lastStableOffset: 0, found: false };
    const shard = this.#tier.shard(shardId);
    const wanted = shard?.segments.find((one) => one.segmentId.equals(query.segmentId));
    const segment = query.segmentId.length === 0 ? shard?.open : wanted;
    if (shard === undefined || segment === undefined || !this.serves(segment)) {
      return { ...none, status: toStatus(notLeader(shardId, shard)) };
    }
    const end = segment.state === SegmentState.OPEN ? shard.endOffset : segment.endOffset;
    const result = { ...none, status: undefined, lastStableOffset: shard.endOffset };
    if (spec === OffsetSpec.EARLIEST) return { ...result, offset: segment.baseOffset };
    if (spec !== OffsetSpec.TIMESTAMP) return { ...result, offset: end };
    const frames = shard.framesFrom(segment, segment.baseOffset, Infinity);
    const frame = frames.find((one) => one.maxTimestampMs >= query.timestampMs);
    if (frame === undefined) return { ...result, offset: end };
    const timestampMs = frame.maxTimestampMs;
    return { ...result, offset: frame.baseOffset, timestampMs, found: true };
  }
}

function notLeader(shardId: number, shard: FakeShard | undefined): OperatingError {
  const nodeId = shard?.open?.leaderNodeId;
  const hint = nodeId === undefined ? {} : { nodeId };
  return new OperatingError('NOT_LEADER', `shard ${shardId} is not here`, hint);
}

function outOfRange(shard: FakeShard, offset: number): OperatingError {
  const hint = { earliestOffset: shard.trimOffset };
  return new OperatingError('OFFSET_OUT_OF_RANGE', `${offset} of shard ${shard.shardId}`, hint);
}
