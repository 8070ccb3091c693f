import { type Offset, offset, type OperatingError, type ShardId } from '@robustmq/core';
import { FilterBuilder, RecordBatchWriter, type ScratchPool } from '@robustmq/record-batch';
import type { AppendResult } from '@robustmq/rpc';
import type { AppendOutcome } from './append-job.ts';
import type { AckLevel, BatchListener, PendingBatch, RecordToAppend } from './journal-client.ts';

/** What a record takes in a batch beside key, value and headers, at most. */
const recordOverheadBytes = 36;

/** Told what became of a batch, before its listeners are. */
export interface BatchOwner {
  batchSettled(batch: GatheredBatch): void;
}

/** Bytes that a record may add to a batch, at most. */
export function recordBytes(record: RecordToAppend): number {
  const keyBytes = record.key === null ? 0 : record.key.length;
  const valueBytes = record.value === null ? 0 : record.value.length;
  return recordOverheadBytes + keyBytes + valueBytes + record.headers.byteLength;
}

/** One batch of an appender: gathers records, then is under way, then is settled. */
export class GatheredBatch implements PendingBatch, AppendOutcome {
  readonly shardId: ShardId;
  readonly #owner: BatchOwner;
  #state: PendingBatch['state'] = 'gathering';
  #writer: RecordBatchWriter | undefined;
  #filter: FilterBuilder | undefined = new FilterBuilder();
  #recordCount = 0;
  #byteLength = 0;
  #waitsForAll = false;
  #baseOffset = -1;
  #appendTimeMs = 0;
  #error: OperatingError | undefined;
  #lastListener: BatchListener | undefined;
  #listeners: BatchListener[] | undefined;

  constructor(shardId: ShardId, owner: BatchOwner, pool: ScratchPool) {
    this.shardId = shardId;
    this.#owner = owner;
    this.#writer = new RecordBatchWriter(pool);
  }

  get state(): PendingBatch['state'] {
    return this.#state;
  }

  get baseOffset(): Offset {
    return offset(this.#baseOffset);
  }

  get appendTimeMs(): number {
    return this.#appendTimeMs;
  }

  get error(): OperatingError | undefined {
    return this.#error;
  }

  get recordCount(): number {
    return this.#recordCount;
  }

  /** Bytes of the batch. */
  get byteLength(): number {
    return this.#byteLength;
  }

  /** Whether somebody waits until all replicas have it. */
  get waitsForAll(): boolean {
    return this.#waitsForAll;
  }

  /** Adds a record. Throws BATCH_TOO_LARGE, without a change, when it cannot be held. */
  add(record: RecordToAppend, ackLevel: AckLevel): void {
    const writer = this.#writer;
    if (writer === undefined) return;
    writer.append(record.timestampMs, record.key, record.value, record.headers);
    this.#byteLength = writer.byteLength;
    this.#recordCount++;
    if (record.filterTokens.length === 0) this.#filter?.matchAll();
    else this.#filter?.add(record.filterTokens);
    if (ackLevel === 'all') this.#waitsForAll = true;
  }

  /** Closes the batch under a producer id (epoch 0). The caller owns both buffers. */
  finish(producerId: number, baseSequence: number): { batch: Buffer; filter: Buffer } {
    const batch = this.#writer?.finish({ producerId, producerEpoch: 0, baseSequence });
    const filter = this.#filter?.finish();
    this.#writer = undefined;
    this.#filter = undefined;
    this.#state = 'sent';
    return { batch: batch ?? Buffer.alloc(0), filter: filter ?? Buffer.alloc(0) };
  }

  addListener(listener: BatchListener): void {
    if (listener === this.#lastListener) return;
    this.#lastListener = listener;
    this.#listeners ??= [];
    this.#listeners.push(listener);
  }

  appended(result: AppendResult): void {
    this.#baseOffset = result.baseOffset;
    this.#appendTimeMs = result.appendTimeMs;
    this.#settle('acknowledged');
  }

  refused(error: OperatingError): void {
    this.#error = error;
    this.#settle('failed');
  }

  #settle(state: 'acknowledged' | 'failed'): void {
    this.#writer?.reset();
    this.#writer = undefined;
    this.#state = state;
    this.#owner.batchSettled(this);
    const listeners = this.#listeners;
    this.#listeners = undefined;
    this.#lastListener = undefined;
    if (listeners === undefined) return;
    for (const listener of listeners) listener.batchSettled(this);
  }
}
