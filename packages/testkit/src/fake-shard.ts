import { OperatingError } from '@robustmq/core';
import {
  batchBaseSequence,
  batchLastOffset,
  batchMaxTimestampMs,
  batchProducerEpoch,
  batchProducerId,
  batchRecordCount,
  checkBatch,
  encodeFrameInto,
  filterMatches,
  FIRST_CHAIN,
  frameBytes,
  isControlBatch,
} from '@robustmq/record-batch';
import { type AppendEntry, type Segment, SegmentState, type Shard } from '@robustmq/rpc';

/** A committed batch. */
export interface FakeFrame {
  readonly bytes: Buffer;
  /** Where the batch begins in `bytes`. */
  readonly payloadStart: number;
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly maxTimestampMs: number;
  readonly filter: Buffer;
}

interface FakeProducer {
  epoch: number;
  nextSequence: number;
  /** The last five, oldest first. */
  batches: { sequence: number; count: number; baseOffset: number; appendTimeMs: number }[];
}

export interface FakeAppend {
  readonly baseOffset: number;
  readonly appendTimeMs: number;
  readonly duplicate: boolean;
}

const windowBatches = 5;
const sequenceEnd = 2 ** 31;

/** One shard in memory: its chain, its committed frames and what the journal knows of its producers. */
export class FakeShard {
  readonly shardId: number;
  readonly topic: string;
  readonly partition: number;
  readonly segments: Segment[] = [];
  readonly frames: FakeFrame[] = [];
  epoch = 0;
  trimOffset = 0;
  endOffset = 0;
  readonly #producers = new Map<number, FakeProducer>();
  #writerEpoch = 0;
  #chain = FIRST_CHAIN;

  constructor(shardId: number, topic: string, partition: number) {
    this.shardId = shardId;
    this.topic = topic;
    this.partition = partition;
  }

  get open(): Segment | undefined {
    const last = this.segments.at(-1);
    return last?.state === SegmentState.OPEN ? last : undefined;
  }

  /** The end of the chain as placement tells it. */
  describe(): Shard {
    const { shardId, topic, partition, epoch, trimOffset } = this;
    const endOffset = this.open?.baseOffset ?? this.endOffset;
    const segments = this.segments.slice(-3).map((segment) => ({ ...segment }));
    return { shardId, topic, partition, epoch, trimOffset, endOffset, segments };
  }

  openSegment(segmentId: Buffer, leaderNodeId: string, leaderIncarnation: number): void {
    this.epoch++;
    this.#chain = FIRST_CHAIN;
    this.segments.push({
      segmentId,
      shardId: this.shardId,
      baseOffset: this.endOffset,
      endOffset: 0,
      state: SegmentState.OPEN,
      epoch: this.epoch,
      sealEpoch: 0,
      leaderNodeId,
      leaderIncarnation,
      replicaNodeIds: [leaderNodeId],
      ackQuorum: 1,
      fullNodeIds: [],
      generation: 0,
      sizeBytes: 0,
      maxTimestampMs: 0,
      sealedAtMs: 0,
    });
  }

  /** Seals the open segment; an empty one is removed. */
  seal(): void {
    const { open } = this;
    if (open === undefined) return;
    this.epoch++;
    if (open.baseOffset === this.endOffset) {
      this.segments.pop();
      return;
    }
    const times = this.#framesOf(open).map((frame) => frame.maxTimestampMs);
    open.state = SegmentState.SEALED;
    open.endOffset = this.endOffset;
    open.sealEpoch = this.epoch;
    open.fullNodeIds = [open.leaderNodeId];
    open.maxTimestampMs = Math.max(...times);
  }

  /** Drops whole sealed segments that lie below `offset`. */
  trim(offset: number): void {
    this.trimOffset = Math.max(this.trimOffset, offset);
    for (;;) {
      const [first] = this.segments;
      if (first?.state !== SegmentState.SEALED || first.endOffset > this.trimOffset) return;
      this.segments.shift();
      while ((this.frames[0]?.lastOffset ?? Infinity) < first.endOffset) this.frames.shift();
    }
  }

  /** Appends to the open segment and commits at once. Stamps the batch in place, as a journal may. */
  append(entry: AppendEntry, appendTimeMs: number): FakeAppend {
    const { batch, filter, writerEpoch } = entry;
    checkBatch(batch, 0, batch.length, isControlBatch(batch, 0) ? 'log' : 'producer');
    this.#checkWriter(writerEpoch);
    const duplicate = this.#checkProducer(batch);
    if (duplicate !== undefined) return duplicate;
    this.#writerEpoch = writerEpoch;
    const baseOffset = this.endOffset;
    const bytes = Buffer.alloc(frameBytes(filter.length, batch.length));
    const stamp = { epoch: this.epoch, writerEpoch, appendTimeMs, previousChain: this.#chain };
    const frame = { ...stamp, control: 'none' as const, baseOffset, filter, batch };
    this.#chain = encodeFrameInto(bytes, 0, frame);
    const lastOffset = batchLastOffset(batch, 0);
    const payloadStart = bytes.length - batch.length;
    const maxTimestampMs = batchMaxTimestampMs(batch, 0);
    this.frames.push({ bytes, payloadStart, baseOffset, lastOffset, maxTimestampMs, filter });
    this.endOffset = lastOffset + 1;
    this.#remember(batch, baseOffset, appendTimeMs);
    return { baseOffset, appendTimeMs, duplicate: false };
  }

  /** The segment that has `offset`; the open one also has the end. */
  segmentAt(offset: number): Segment | undefined {
    return this.segments.find(
      (segment) =>
        offset >= segment.baseOffset &&
        (segment.state === SegmentState.OPEN || offset < segment.endOffset),
    );
  }

  /** Frames of one segment from `offset` on, about `bytesMax` bytes, at least one. */
  framesFrom(segment: Segment, offset: number, bytesMax: number): FakeFrame[] {
    const frames: FakeFrame[] = [];
    let bytes = 0;
    for (const frame of this.#framesOf(segment)) {
      if (frame.lastOffset < offset) continue;
      if (frames.length > 0 && bytes + frame.bytes.length > bytesMax) break;
      frames.push(frame);
      bytes += frame.bytes.length;
    }
    return frames;
  }

  #framesOf(segment: Segment): FakeFrame[] {
    const end = segment.state === SegmentState.OPEN ? this.endOffset : segment.endOffset;
    return this.frames.filter(
      (frame) => frame.baseOffset >= segment.baseOffset && frame.baseOffset < end,
    );
  }

  #checkWriter(writerEpoch: number): void {
    if (writerEpoch >= this.#writerEpoch) return;
    throw new OperatingError(
      'WRITER_FENCED',
      `writer epoch ${writerEpoch} is below ${this.#writerEpoch}`,
      { epoch: this.#writerEpoch },
    );
  }

  /** Returns the first answer of a batch that was appended before. A producer begins at sequence 0. */
  #checkProducer(batch: Buffer): FakeAppend | undefined {
    const producerId = batchProducerId(batch, 0);
    if (producerId < 0) return undefined;
    const epoch = batchProducerEpoch(batch, 0);
    const sequence = batchBaseSequence(batch, 0);
    const producer = this.#producers.get(producerId);
    if (producer !== undefined && epoch < producer.epoch) {
      throw new OperatingError('PRODUCER_FENCED', `producer epoch ${epoch} is fenced`);
    }
    const known = producer?.epoch === epoch ? producer : undefined;
    const count = batchRecordCount(batch, 0);
    const twin = known?.batches.find((one) => one.sequence === sequence && one.count === count);
    if (twin !== undefined) return { ...twin, duplicate: true };
    const expected = known?.nextSequence ?? 0;
    if (sequence === expected) return undefined;
    const code = sequence > expected ? 'OUT_OF_ORDER_SEQUENCE' : 'DUPLICATE_SEQUENCE';
    throw new OperatingError(code, `sequence ${sequence} instead of ${expected}`);
  }

  #remember(batch: Buffer, baseOffset: number, appendTimeMs: number): void {
    const producerId = batchProducerId(batch, 0);
    if (producerId < 0) return;
    const epoch = batchProducerEpoch(batch, 0);
    const sequence = batchBaseSequence(batch, 0);
    const count = batchRecordCount(batch, 0);
    let producer = this.#producers.get(producerId);
    if (producer === undefined || producer.epoch !== epoch) {
      producer = { epoch, nextSequence: 0, batches: [] };
      this.#producers.set(producerId, producer);
    }
    producer.nextSequence = (sequence + count) % sequenceEnd;
    producer.batches.push({ sequence, count, baseOffset, appendTimeMs });
    if (producer.batches.length > windowBatches) producer.batches.shift();
  }

  /** Forgets all producers, as after their expiry. */
  forgetProducers(): void {
    this.#producers.clear();
  }
}

/** Whether a reader with these tokens is to be given the frame; with none it gets everything. */
export function frameMatches(frame: FakeFrame, tokens: readonly number[]): boolean {
  if (tokens.length === 0 || frame.filter.length === 0) return true;
  return tokens.some((token) => filterMatches(frame.filter, token));
}
