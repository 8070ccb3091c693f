import {
  limits,
  type Offset,
  offset,
  OperatingError,
  type ProducerId,
  producerId,
} from '@robustmq/core';
import {
  batchBaseSequence,
  batchProducerEpoch,
  batchProducerId,
  batchRecordCount,
  checkBatch,
  encodeFrame,
  FIRST_CHAIN,
} from '@robustmq/record-batch';

/** An append as journal-client takes it. */
export interface MemoryAppend {
  readonly shardId: number;
  readonly batch: Buffer;
  readonly filter: Buffer;
  readonly writerEpoch: number;
}

export interface MemoryAppended {
  readonly baseOffset: Offset;
  readonly appendTimeMs: number;
  readonly duplicate: boolean;
}

export interface MemoryRead {
  readonly fromOffset: number;
  readonly bytesMax: number;
}

/** What a {@link MemoryLogClient} does at a step. */
export type MemoryStep = 'before-append' | 'after-append';

interface StoredBatch {
  readonly baseOffset: number;
  readonly endOffset: number;
  readonly frame: Buffer;
  readonly batch: Buffer;
}

interface ProducerWindow {
  epoch: number;
  nextSequence: number;
  /** The last five, oldest first. */
  readonly last: { readonly sequence: number; readonly count: number; readonly offset: number }[];
}

/** One shard: batches in memory, with the journal's rules for writer epochs and producers. */
export class MemoryLog {
  readonly batches: StoredBatch[] = [];
  readonly #producers = new Map<number, ProducerWindow>();
  #writerEpoch = 0;
  #nextOffset = 0;
  trimOffset = 0;
  /** Refuses appends while it is set. */
  refusal: OperatingError | undefined;

  get endOffset(): number {
    return this.#nextOffset;
  }

  append({ batch, writerEpoch, filter }: MemoryAppend): MemoryAppended {
    checkBatch(batch, 0, batch.length);
    if (this.refusal !== undefined) throw this.refusal;
    this.#fence(writerEpoch);
    const known = this.#duplicate(batch);
    if (known !== undefined) return { baseOffset: offset(known), appendTimeMs: 0, duplicate: true };
    return this.#store(Buffer.from(batch), filter, writerEpoch);
  }

  /** The frames from `fromOffset` on, at least one if there is one, and where to go on. */
  read({ fromOffset, bytesMax }: MemoryRead): { frames: Buffer; nextOffset: number } {
    if (fromOffset < this.trimOffset) {
      const hint = { earliestOffset: this.trimOffset };
      throw new OperatingError('OFFSET_OUT_OF_RANGE', `${fromOffset} is trimmed`, hint);
    }
    const frames: Buffer[] = [];
    let bytes = 0;
    let nextOffset = fromOffset;
    for (const { endOffset, frame } of this.batches) {
      if (endOffset <= fromOffset) continue;
      if (frames.length > 0 && bytes + frame.length > bytesMax) break;
      frames.push(frame);
      bytes += frame.length;
      nextOffset = endOffset;
    }
    return { frames: Buffer.concat(frames), nextOffset };
  }

  #fence(writerEpoch: number): void {
    if (writerEpoch < this.#writerEpoch) {
      throw new OperatingError('WRITER_FENCED', `${writerEpoch} is below ${this.#writerEpoch}`);
    }
    this.#writerEpoch = writerEpoch;
  }

  /** Where the batch was appended before; throws when it may not be appended at all. */
  #duplicate(batch: Buffer): number | undefined {
    const id = batchProducerId(batch, 0);
    if (id < 0) return undefined;
    const epoch = batchProducerEpoch(batch, 0);
    const sequence = batchBaseSequence(batch, 0);
    const window = this.#windowOf(id, epoch, sequence);
    const count = batchRecordCount(batch, 0);
    const same = window.last.find((each) => each.sequence === sequence && each.count === count);
    if (same !== undefined) return same.offset;
    if (sequence < window.nextSequence) {
      throw new OperatingError('DUPLICATE_SEQUENCE', `${sequence} was appended long ago`);
    }
    if (sequence > window.nextSequence) {
      throw new OperatingError('OUT_OF_ORDER_SEQUENCE', `${sequence}, not ${window.nextSequence}`);
    }
    return undefined;
  }

  #windowOf(id: number, epoch: number, sequence: number): ProducerWindow {
    const window = this.#producers.get(id);
    if (window !== undefined && epoch < window.epoch) {
      throw new OperatingError('PRODUCER_FENCED', `${epoch} is below ${window.epoch}`);
    }
    if (window !== undefined && epoch === window.epoch) return window;
    // As Kafka: an unknown producer begins anywhere, a new epoch begins at 0.
    const begun = { epoch, nextSequence: window === undefined ? sequence : 0, last: [] };
    this.#producers.set(id, begun);
    return begun;
  }

  #store(batch: Buffer, filter: Buffer, writerEpoch: number): MemoryAppended {
    const baseOffset = this.#nextOffset;
    const count = batchRecordCount(batch, 0);
    const window = this.#producers.get(batchProducerId(batch, 0));
    if (window !== undefined) {
      const sequence = batchBaseSequence(batch, 0);
      window.nextSequence = sequence + count;
      window.last.push({ sequence, count, offset: baseOffset });
      if (window.last.length > limits.appendsInFlightMax) window.last.shift();
    }
    const { header } = encodeFrame({
      epoch: 1,
      writerEpoch,
      appendTimeMs: 0,
      previousChain: FIRST_CHAIN,
      control: 'none',
      baseOffset,
      filter,
      batch,
    });
    this.#nextOffset += count;
    const frame = Buffer.concat([header, batch]);
    this.batches.push({ baseOffset, endOffset: this.#nextOffset, frame, batch });
    return { baseOffset: offset(baseOffset), appendTimeMs: 0, duplicate: false };
  }
}

/** Shards in memory that outlive their clients. */
export class MemoryLogs {
  readonly #logs = new Map<number, MemoryLog>();
  #nextProducerId = 1;

  log(shardId: number): MemoryLog {
    let log = this.#logs.get(shardId);
    if (log === undefined) {
      log = new MemoryLog();
      this.#logs.set(shardId, log);
    }
    return log;
  }

  newProducerId(): ProducerId {
    return producerId(this.#nextProducerId++);
  }

  /** A process's access. `step` is called around every append; it may kill the client. */
  client(step: (client: MemoryLogClient, step: MemoryStep) => void = () => {}): MemoryLogClient {
    return new MemoryLogClient(this, step);
  }
}

/**
 * The slice of journal-client that coordinators use. Appends of one client arrive in order, each in a turn
 * of its own. A killed one hears nothing any more, and nothing of it arrives.
 */
export class MemoryLogClient {
  readonly #logs: MemoryLogs;
  readonly #step: (client: MemoryLogClient, step: MemoryStep) => void;
  #tail: Promise<unknown> = Promise.resolve();
  #isKilled = false;

  constructor(logs: MemoryLogs, step: (client: MemoryLogClient, step: MemoryStep) => void) {
    this.#logs = logs;
    this.#step = step;
  }

  get isKilled(): boolean {
    return this.#isKilled;
  }

  kill(): void {
    this.#isKilled = true;
  }

  appendBatch(append: MemoryAppend): Promise<MemoryAppended> {
    const arrived = this.#tail.then(async () => {
      await turn();
      if (!this.#isKilled) this.#step(this, 'before-append');
      await this.#alive();
      const appended = this.#logs.log(append.shardId).append(append);
      this.#step(this, 'after-append');
      await this.#alive();
      return appended;
    });
    this.#tail = Promise.allSettled([arrived]);
    return arrived;
  }

  async read(
    shardId: number,
    options: MemoryRead,
  ): Promise<{
    frames: Buffer;
    nextOffset: Offset;
    highWatermark: Offset;
    lastStableOffset: Offset;
    aborted: [];
  }> {
    await turn();
    await this.#alive();
    const log = this.#logs.log(shardId);
    const { frames, nextOffset } = log.read(options);
    const end = offset(log.endOffset);
    const rest = { highWatermark: end, lastStableOffset: end, aborted: [] as [] };
    return { frames, nextOffset: offset(nextOffset), ...rest };
  }

  async newProducerId(): Promise<ProducerId> {
    await this.#alive();
    return this.#logs.newProducerId();
  }

  /** Never resolves once the client was killed. */
  async #alive(): Promise<void> {
    if (this.#isKilled) await new Promise<never>(() => {});
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
