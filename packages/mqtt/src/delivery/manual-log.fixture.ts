import { offset, type Offset, OperatingError, shardId, type ShardId } from '@robustmq/core';
import type {
  Attachment,
  BatchVisitor,
  CatchUp,
  CatchUpCursor,
  DecodedBatch,
  FanOut,
  FanOutReader,
  LogReader,
  LogReadStep,
} from '@robustmq/kernel';
import { HeaderBlock, RecordBatchWriter, RecordCursor } from '@robustmq/record-batch';

interface StoredRecord {
  readonly key: Buffer;
  readonly value: Buffer;
  readonly headers: HeaderBlock;
}

/** One partition whose tail and whose reads move only when the test says so. */
export class ManualLog implements FanOut, CatchUp, LogReader {
  readonly shardId: ShardId;
  readonly #records: StoredRecord[] = [];
  readonly #reads: (() => void)[] = [];
  #reader: FanOutReader | undefined;
  #frontier: Offset = offset(0);
  attached = 0;

  constructor(id = 1) {
    this.shardId = shardId(id);
  }

  get end(): Offset {
    return offset(this.#records.length);
  }

  /** Reads that wait for {@link serve}. */
  get waiting(): number {
    return this.#reads.length;
  }

  append(key: string, value: string, qos: 0 | 1 | 2 = 1): Offset {
    const headers = new HeaderBlock();
    headers.add(Buffer.from('mqtt.qos'), Buffer.of(qos));
    this.#records.push({ key: Buffer.from(key), value: Buffer.from(value), headers });
    return offset(this.#records.length - 1);
  }

  /** The tail brings everything up to `end`. */
  tail(end: number = this.end): void {
    if (this.#reader === undefined || end <= this.#frontier) return;
    const batch = this.#batch(this.#frontier, end);
    this.#reader.batch(batch);
    this.#frontier = offset(end);
  }

  /** Answers the reads that wait, and those that follow from them, with what is there then. */
  async serve(rounds = 20): Promise<void> {
    for (let round = 0; round < rounds; round++) {
      for (const answer of this.#reads.splice(0)) answer();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  attach(
    _shardId: ShardId,
    reader: FanOutReader,
    { fromOffset }: { fromOffset?: Offset } = {},
  ): Attachment {
    this.attached++;
    this.#reader = reader;
    this.#frontier = fromOffset ?? this.end;
    const frontier = (): Offset => this.#frontier;
    return {
      shardId: this.shardId,
      get frontier() {
        return frontier();
      },
      live: true,
      detach: () => {
        this.attached--;
        this.#reader = undefined;
      },
    };
  }

  position(): Offset | undefined {
    return this.#reader === undefined ? undefined : this.#frontier;
  }

  cursor(id: ShardId, from: Offset): CatchUpCursor {
    let position = from;
    let isClosed = false;
    const read = async (visit: BatchVisitor): Promise<LogReadStep> => {
      await this.#turn();
      if (isClosed) throw new OperatingError('CANCELLED', 'the cursor is closed');
      const step = this.#visit(position, visit);
      position = step.nextOffset;
      return step;
    };
    return {
      shardId: id,
      get position() {
        return position;
      },
      seek: (to) => {
        position = to;
      },
      read: (_bytesMax, visit) => read(visit),
      close: () => {
        isClosed = true;
      },
    };
  }

  async read(
    _shardId: ShardId,
    { fromOffset }: { fromOffset: Offset },
    visit: BatchVisitor,
  ): Promise<LogReadStep> {
    await this.#turn();
    return this.#visit(fromOffset, visit);
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #turn(): Promise<void> {
    return new Promise((resolve) => this.#reads.push(resolve));
  }

  #visit(from: Offset, visit: BatchVisitor): LogReadStep {
    const ends = { highWatermark: this.end, lastStableOffset: this.end };
    const isTaken = from >= this.end || visit(this.#batch(from, this.end));
    return { nextOffset: isTaken ? this.end : from, ...ends };
  }

  #batch(from: number, to: number): DecodedBatch {
    const writer = new RecordBatchWriter();
    for (const { key, value, headers } of this.#records.slice(from, to)) {
      writer.append(1, key, value, headers);
    }
    const cursor = new RecordCursor();
    cursor.reset(writer.finish());
    return {
      shardId: this.shardId,
      baseOffset: offset(from),
      nextOffset: offset(to),
      appendTimeMs: 0,
      producerId: -1,
      writerEpoch: 0,
      cursor,
    };
  }
}
