import { assert, offset, type ShardId, shardId } from '@robustmq/core';
import { FilterBuilder, RecordBatchWriter } from '@robustmq/record-batch';
import type { Outbox, OutboxEntry, OutboxOutcome } from './outbox.ts';
import {
  decodeOutboxBatch,
  encodeOutboxBatch,
  type OutboxBatch,
  outboxBatchBytes,
  rebuiltBatch,
} from './outbox-batch.ts';
import { decodeConfirmations, decodeProducerId } from './outbox-record.ts';

/** A batch of a target is closed before it would pass so many bytes. */
const batchBytesMax = 512 * 1024;
/** What waits or is not confirmed; above, the outbox is full. */
const outboxBytesMax = 8 * 1024 * 1024;
const tagBytesMax = 64 * 1024;
const none: readonly OutboxTarget[] = [];
/** Largest i16. */
const producerEpochMax = 32_767;
/** Of a target in a snapshot: shard, epoch, sequence. */
const targetBytes = 8 + 2 + 4;

/** A target of the outbox and what it is owed. */
export interface OutboxTarget {
  readonly shardId: ShardId;
  producerEpoch: number;
  /** Sequence of the next batch. */
  nextSequence: number;
  /** Not confirmed, oldest first. */
  batches: OutboxBatch[];
}

/** A target's records of the current batch of the log. */
class OpenBatch {
  readonly target: OutboxTarget;
  readonly writer = new RecordBatchWriter();
  readonly filter = new FilterBuilder();
  readonly tags: Buffer[] = [];

  constructor(target: OutboxTarget) {
    this.target = target;
  }
}

/** Told what is confirmed. */
export type ConfirmedListener = (tag: Buffer, outcome: OutboxOutcome) => void;

/**
 * The outbox as a fold over a coordinator's log: what has to be appended where, under which sequence
 * (DESIGN.md, "Outbox"). Pure; `OutboxSender` does the appending.
 */
export class OutboxState implements Outbox {
  readonly #targets = new Map<number, OutboxTarget>();
  readonly #open = new Map<number, OpenBatch>();
  #producerId = -1;
  #bytes = 0;

  /** -1 before the producer record. */
  get producerId(): number {
    return this.#producerId;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get full(): boolean {
    return this.#bytes >= outboxBytesMax;
  }

  target(id: number): OutboxTarget | undefined {
    return this.#targets.get(id);
  }

  targets(): IterableIterator<OutboxTarget> {
    return this.#targets.values();
  }

  enqueue({ target: id, record, tag }: OutboxEntry): void {
    assert(this.#producerId >= 0, "an outbox's producer id stands in the log before its entries");
    assert(tag.length <= tagBytesMax, `an outbox tag has at most ${tagBytesMax} bytes`);
    const { timestampMs, key, value, headers, filterTokens } = record;
    const bytes = (key?.length ?? 0) + (value?.length ?? 0) + headers.byteLength;
    let open = this.#openBatch(id);
    if (open.writer.recordCount > 0 && open.writer.byteLength + bytes > batchBytesMax) {
      this.#close(open);
      open = this.#openBatch(id);
    }
    open.writer.append(timestampMs, key, value, headers);
    if (filterTokens.length === 0) open.filter.matchAll();
    else open.filter.add(filterTokens);
    open.tags.push(Buffer.from(tag));
  }

  /**
   * The batch of the log ends before `logEnd`: entries of one target in it are one batch. Returns the
   * targets that have got something.
   */
  endBatch(logEnd: number): readonly OutboxTarget[] {
    if (this.#open.size === 0) return none;
    const targets: OutboxTarget[] = [];
    for (const open of this.#open.values()) {
      this.#close(open);
      targets.push(open.target);
    }
    for (const { batches } of targets) {
      for (let i = batches.length - 1; batches[i]?.logEnd === Number.POSITIVE_INFINITY; i--) {
        (batches[i] as OutboxBatch).logEnd = logEnd;
      }
    }
    return targets;
  }

  setProducer(value: Buffer): void {
    this.#producerId = decodeProducerId(value);
  }

  /** Applies a confirm record. */
  confirm(value: Buffer, confirmed: ConfirmedListener): void {
    for (const { target: id, sequence, outcome } of decodeConfirmations(value)) {
      const target = this.#targets.get(id);
      const at = target?.batches.findIndex((batch) => batch.sequence === sequence) ?? -1;
      const batch = target?.batches[at];
      assert(target !== undefined && batch !== undefined, 'what is confirmed is in the outbox');
      target.batches.splice(at, 1);
      this.#bytes -= outboxBatchBytes(batch);
      if (outcome.kind === 'refused') {
        if (outcome.error.code === 'NOT_FOUND' && target.batches.length === 0) {
          this.#targets.delete(id);
        } else this.#beginEpoch(target, sequence);
      }
      for (const [i, tag] of batch.tags.entries()) confirmed(tag, outcomeOf(outcome, i));
    }
  }

  /** The outbox as it is now; there must be no open batch. */
  snapshot(): Buffer[] {
    assert(this.#open.size === 0, 'a snapshot begins between two batches of the log');
    const chunks = [this.#encodeTargets()];
    for (const target of this.#targets.values()) {
      for (const batch of target.batches) chunks.push(encodeOutboxBatch(target.shardId, batch));
    }
    return chunks;
  }

  /** Takes the chunks of {@link snapshot}, in order. */
  restoreChunk(chunk: Buffer): void {
    if (this.#producerId < 0) {
      this.#decodeTargets(chunk);
      return;
    }
    const { target, batch } = decodeOutboxBatch(chunk);
    this.#targetOf(target).batches.push(batch);
    this.#bytes += outboxBatchBytes(batch);
  }

  #targetOf(id: number): OutboxTarget {
    let target = this.#targets.get(id);
    if (target === undefined) {
      target = { shardId: shardId(id), producerEpoch: 0, nextSequence: 0, batches: [] };
      this.#targets.set(id, target);
    }
    return target;
  }

  #openBatch(id: number): OpenBatch {
    let open = this.#open.get(id);
    if (open === undefined) {
      open = new OpenBatch(this.#targetOf(id));
      this.#open.set(id, open);
    }
    return open;
  }

  #close({ target, writer, filter, tags }: OpenBatch): void {
    this.#open.delete(target.shardId);
    const sequence = target.nextSequence;
    const producer = { producerId: this.#producerId, producerEpoch: target.producerEpoch };
    const bytes = writer.finish({ ...producer, baseSequence: sequence });
    const logEnd = Number.POSITIVE_INFINITY;
    const batch = { sequence, tags, bytes, filter: filter.finish(), logEnd };
    target.nextSequence = sequenceAfter(sequence, tags.length);
    target.batches.push(batch);
    this.#bytes += outboxBatchBytes(batch);
  }

  /**
   * A batch was refused for good and nothing of the target is under way: what waits gets a new epoch,
   * so that neither a gap stops it nor a former owner, who knows the old numbers, appends it again.
   */
  #beginEpoch(target: OutboxTarget, refusedSequence: number): void {
    const isLast = target.producerEpoch === producerEpochMax;
    if (!isLast) target.producerEpoch++;
    target.nextSequence = isLast ? refusedSequence : 0;
    target.batches = target.batches.map((batch) => this.#renumbered(target, batch));
  }

  #renumbered(target: OutboxTarget, batch: OutboxBatch): OutboxBatch {
    const sequence = target.nextSequence;
    const producer = { producerId: this.#producerId, producerEpoch: target.producerEpoch };
    target.nextSequence = sequenceAfter(sequence, batch.tags.length);
    const bytes = rebuiltBatch(batch.bytes, { ...producer, baseSequence: sequence });
    return { ...batch, sequence, bytes };
  }

  #encodeTargets(): Buffer {
    const chunk = Buffer.allocUnsafeSlow(8 + this.#targets.size * targetBytes);
    let at = chunk.writeBigInt64BE(BigInt(this.#producerId));
    for (const { shardId, producerEpoch, nextSequence } of this.#targets.values()) {
      at = chunk.writeBigUInt64BE(BigInt(shardId), at);
      at = chunk.writeInt16BE(producerEpoch, at);
      at = chunk.writeInt32BE(nextSequence, at);
    }
    return chunk;
  }

  #decodeTargets(chunk: Buffer): void {
    this.#producerId = Number(chunk.readBigInt64BE(0));
    for (let at = 8; at < chunk.length; at += targetBytes) {
      const target = this.#targetOf(Number(chunk.readBigUInt64BE(at)));
      target.producerEpoch = chunk.readInt16BE(at + 8);
      target.nextSequence = chunk.readInt32BE(at + 10);
    }
  }
}

/** What became of the record at `index` of a batch. */
export function outcomeOf(outcome: OutboxOutcome, index: number): OutboxOutcome {
  if (outcome.kind === 'refused' || outcome.offset === undefined) return outcome;
  return { kind: 'committed', offset: offset(outcome.offset + index) };
}

/** Sequences of a producer wrap at 2^31, as Kafka's do. */
export function sequenceAfter(sequence: number, count: number): number {
  return (sequence + count) % 2 ** 31;
}
