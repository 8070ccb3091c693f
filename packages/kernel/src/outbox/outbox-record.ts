import { errorCodeOf, errorNumber, offset, OperatingError } from '@robustmq/core';
import type { OutboxOutcome } from './outbox.ts';

/** What became of one batch of the outbox. */
export interface OutboxConfirmation {
  /** The shard of the target. */
  readonly target: number;
  /** Sequence of the batch in the target. */
  readonly sequence: number;
  /** With the offset of the batch's first record. */
  readonly outcome: OutboxOutcome;
}

const outcomes = { committed: 0, committedSomewhere: 1, refused: 2 } as const;
const fixedBytes = 8 + 4 + 1;
const offsetBytes = 8;
const refusalBytes = 4;
/** Of an error's message, so that a confirm record has a bound. */
const messageBytesMax = 200;

/** The value of a confirm record. */
export function encodeConfirmations(confirmations: readonly OutboxConfirmation[]): Buffer {
  return Buffer.concat(confirmations.map(encodeConfirmation));
}

function encodeConfirmation({ target, sequence, outcome }: OutboxConfirmation): Buffer {
  const tail = encodeOutcome(outcome);
  const bytes = Buffer.alloc(fixedBytes + tail.length);
  bytes.writeBigUInt64BE(BigInt(target), 0);
  bytes.writeInt32BE(sequence, 8);
  bytes.writeUInt8(outcomeNumber(outcome), 12);
  tail.copy(bytes, fixedBytes);
  return bytes;
}

function outcomeNumber(outcome: OutboxOutcome): number {
  if (outcome.kind === 'refused') return outcomes.refused;
  return outcome.offset === undefined ? outcomes.committedSomewhere : outcomes.committed;
}

function encodeOutcome(outcome: OutboxOutcome): Buffer {
  if (outcome.kind === 'refused') {
    const message = Buffer.from(outcome.error.message).subarray(0, messageBytesMax);
    const bytes = Buffer.alloc(refusalBytes + message.length);
    bytes.writeUInt16BE(errorNumber(outcome.error.code), 0);
    bytes.writeUInt16BE(message.length, 2);
    message.copy(bytes, refusalBytes);
    return bytes;
  }
  const bytes = Buffer.alloc(outcome.offset === undefined ? 0 : offsetBytes);
  if (outcome.offset !== undefined) bytes.writeBigUInt64BE(BigInt(outcome.offset));
  return bytes;
}

/** What {@link encodeConfirmations} has encoded. */
export function decodeConfirmations(bytes: Buffer): OutboxConfirmation[] {
  const confirmations: OutboxConfirmation[] = [];
  for (let at = 0; at < bytes.length;) {
    const target = Number(bytes.readBigUInt64BE(at));
    const sequence = bytes.readInt32BE(at + 8);
    const number = bytes.readUInt8(at + 12);
    at += fixedBytes;
    if (number === outcomes.refused) {
      const messageBytes = bytes.readUInt16BE(at + 2);
      const message = bytes.toString('utf8', at + refusalBytes, at + refusalBytes + messageBytes);
      const error = new OperatingError(errorCodeOf(bytes.readUInt16BE(at)), message);
      confirmations.push({ target, sequence, outcome: { kind: 'refused', error } });
      at += refusalBytes + messageBytes;
      continue;
    }
    const isKnown = number === outcomes.committed;
    const committedAt = isKnown ? offset(Number(bytes.readBigUInt64BE(at))) : undefined;
    confirmations.push({ target, sequence, outcome: { kind: 'committed', offset: committedAt } });
    if (isKnown) at += offsetBytes;
  }
  return confirmations;
}

/** A producer id as the outbox's producer record has it. */
export function encodeProducerId(producerId: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(producerId));
  return bytes;
}

export function decodeProducerId(bytes: Buffer): number {
  return Number(bytes.readBigUInt64BE(0));
}
