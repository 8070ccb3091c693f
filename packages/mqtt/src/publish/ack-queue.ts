import { offset, OperatingError, shardId } from '@robustmq/core';
import type { BatchListener, PendingBatch } from '@robustmq/journal-client';

import type { ReasonCode } from '../codec/reason-code.ts';

/** What a publish is answered with once its batch is committed. */
export type AckOwed = 'puback' | 'pubrec';

/** Why a publish is not taken, for its client. */
export interface Refusal {
  readonly reasonCode: ReasonCode;
  /** Undefined where the code says it: there are clients that take no acknowledgement with more. */
  readonly reason: string | undefined;
}

/** Takes the acknowledgements, in the order of the publishes. */
export interface AckSink {
  /** Committed, or failed for good. */
  acknowledge(owed: AckOwed, packetId: number, error: OperatingError | undefined): void;
  /** Was refused. */
  refuse(owed: AckOwed, packetId: number, refusal: Refusal): void;
}

const compactAt = 1024;

/**
 * The publishes of one client that wait for the log, in the order in which they came. They are
 * answered from the head, so a batch that is done early waits for those before it. [MQTT5-4.6.0-2]
 */
export class AckQueue implements BatchListener {
  readonly #sink: AckSink;
  #batches: PendingBatch[] = [];
  /** Packet id, and in bit 16 whether PUBREC is owed. */
  #packets: number[] = [];
  #head = 0;

  constructor(sink: AckSink) {
    this.#sink = sink;
  }

  get length(): number {
    return this.#batches.length - this.#head;
  }

  push(batch: PendingBatch, owed: AckOwed, packetId: number): void {
    const last = this.#batches.length - 1;
    const isListening = last >= this.#head && this.#batches[last] === batch;
    this.#batches.push(batch);
    this.#packets.push(owed === 'pubrec' ? packetId | 0x10000 : packetId);
    if (!isListening) batch.addListener(this);
  }

  /** Owes a refusal, in its place. */
  pushRefusal(refusal: Refusal, owed: AckOwed, packetId: number): void {
    this.push(new RefusedBatch(refusal), owed, packetId);
    this.batchSettled();
  }

  batchSettled(): void {
    const batches = this.#batches;
    while (this.#head < batches.length) {
      const batch = batches[this.#head];
      if (batch === undefined || batch.state === 'gathering' || batch.state === 'sent') break;
      const packet = this.#packets[this.#head] ?? 0;
      this.#head++;
      const owed = packet > 0xffff ? 'pubrec' : 'puback';
      if (batch instanceof RefusedBatch) this.#sink.refuse(owed, packet & 0xffff, batch.refusal);
      else this.#sink.acknowledge(owed, packet & 0xffff, batch.error);
    }
    if (this.#head === batches.length || this.#head >= compactAt) this.#compact();
  }

  #compact(): void {
    if (this.#head === this.#batches.length) {
      this.#batches = [];
      this.#packets = [];
    } else {
      this.#batches.splice(0, this.#head);
      this.#packets.splice(0, this.#head);
    }
    this.#head = 0;
  }
}

/** Stands in the queue for a publish that never got into a batch. */
class RefusedBatch implements PendingBatch {
  readonly shardId = shardId(0);
  readonly state = 'failed';
  readonly baseOffset = offset(0);
  readonly appendTimeMs = 0;
  readonly recordCount = 0;
  readonly error = new OperatingError('INVALID_ARGUMENT', 'the publish was refused');
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    this.refusal = refusal;
  }

  /** Settled already. */
  addListener(): void {}
}
