import type { OperatingError } from '@robustmq/core';
import { batchMaxTimestampMs } from '@robustmq/record-batch';
import type { BatchFacts } from '../core/batch-facts.ts';
import type { AckLevel, PendingAppend } from '../core/pending-append.ts';

/** Who is told what became of an append, once. */
export interface AppendOwner {
  acknowledged(append: InFlightAppend): void;
  refused(append: InFlightAppend, error: OperatingError): void;
}

export interface AppendInput {
  readonly owner: AppendOwner;
  /** Names the append towards its owner. */
  readonly appendId: number;
  readonly shardId: number;
  readonly ackLevel: AckLevel;
  readonly expectedEpoch: number;
  readonly filter: Buffer;
  /** A checked batch. The journal owns it and stamps it in place. */
  readonly batch: Buffer;
  readonly facts: BatchFacts;
}

const NO_BYTES = Buffer.alloc(0);

/** A view may pin a whole message; when it stays, and is so much smaller, it is copied. */
const copyBelowShare = 0.5;

/** One batch from its arrival to its answer. */
export class InFlightAppend implements PendingAppend {
  readonly owner: AppendOwner;
  readonly appendId: number;
  readonly shardId: number;
  readonly ackLevel: AckLevel;
  readonly expectedEpoch: number;
  readonly facts: BatchFacts;
  /** Bytes of batch and filter, as the limits of bytes in flight count them. */
  readonly bytes: number;
  /** Bytes of the batch, as the stream's credit counts them. */
  readonly batchBytes: number;
  readonly maxTimestampMs: number;
  filter: Buffer;
  batch: Buffer;
  baseOffset = 0;
  appendTimeMs = 0;
  isDuplicate = false;
  endLength = 0;
  heldUntilMs = 0;
  /** Its bytes count in the limits of bytes in flight. */
  isCounted = false;

  constructor(input: AppendInput) {
    this.owner = input.owner;
    this.appendId = input.appendId;
    this.shardId = input.shardId;
    this.ackLevel = input.ackLevel;
    this.expectedEpoch = input.expectedEpoch;
    this.facts = input.facts;
    this.filter = input.filter;
    this.batch = input.batch;
    this.batchBytes = input.batch.length;
    this.bytes = input.batch.length + input.filter.length;
    this.maxTimestampMs = batchMaxTimestampMs(input.batch, 0);
  }

  /** The storage has the bytes: the message that they came in need not wait for the sync. */
  releaseBytes(): void {
    this.batch = NO_BYTES;
    this.filter = NO_BYTES;
  }

  /** The append stays for a while: its buffers must not pin the message that they came in. */
  ownBytes(): void {
    this.batch = ownCopy(this.batch);
    this.filter = ownCopy(this.filter);
  }
}

function ownCopy(bytes: Buffer): Buffer {
  if (bytes.length >= bytes.buffer.byteLength * copyBelowShare) return bytes;
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(copy);
  return copy;
}
