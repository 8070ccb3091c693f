import { OperatingError } from '@robustmq/core';

/**
 * What stands in a coordinator's log. A machine's record has no key; a record of the runtime has its
 * number as a key of one byte.
 */
const recordNumbers = {
  /** Begins an ownership; nothing of a lower writer epoch follows. */
  takeover: 1,
  /** Proves that the epoch is not fenced. */
  noop: 2,
  /** The snapshot that follows shows the state at this record's offset. */
  'snapshot-begin': 3,
  /** A chunk of the machine. */
  'snapshot-chunk': 4,
  /** A chunk of the outbox. */
  'outbox-chunk': 5,
  /** The snapshot is complete. */
  'snapshot-end': 6,
  /** The producer id of the shard's outbox. */
  'outbox-producer': 7,
  /** What became of outbox batches. */
  'outbox-confirm': 8,
} as const;

export type RuntimeRecordKind = keyof typeof recordNumbers;
export type RecordKind = RuntimeRecordKind | 'machine';

const kinds = Object.keys(recordNumbers) as RuntimeRecordKind[];
const keyOfKind = new Map<RecordKind, Buffer>(
  kinds.map((kind) => [kind, Buffer.from([recordNumbers[kind]])]),
);
const kindOfNumber = new Map<number, RuntimeRecordKind>(
  kinds.map((kind) => [recordNumbers[kind], kind]),
);

export function recordKey(kind: RecordKind): Buffer | null {
  return keyOfKind.get(kind) ?? null;
}

/** The kind of a record with the key `buffer[start, end)`; `start` below 0 is no key. Throws UNSUPPORTED. */
export function recordKindAt(buffer: Buffer, start: number, end: number): RecordKind {
  if (start < 0) return 'machine';
  const kind = end - start === 1 ? kindOfNumber.get(buffer[start] ?? 0) : undefined;
  if (kind !== undefined) return kind;
  const key = buffer.toString('hex', start, end);
  throw new OperatingError(
    'UNSUPPORTED',
    `a coordinator's log has a record with key 0x${key}; it was written by a newer version`,
  );
}

/** Who has taken over, for those who read the log. */
export interface TakeoverRecord {
  readonly epoch: number;
  readonly nodeId: string;
  readonly incarnation: number;
}

export function encodeTakeover(record: TakeoverRecord): Buffer {
  return Buffer.from(JSON.stringify(record));
}

export interface SnapshotEnd {
  /** Offset of the begin record. */
  readonly firstOffset: number;
  /** Chunks of both kinds. */
  readonly chunks: number;
}

const snapshotEndBytes = 12;

export function encodeSnapshotEnd(end: SnapshotEnd): Buffer {
  const bytes = Buffer.allocUnsafe(snapshotEndBytes);
  bytes.writeBigUInt64BE(BigInt(end.firstOffset), 0);
  bytes.writeUInt32BE(end.chunks, 8);
  return bytes;
}

/** Undefined when the bytes are no snapshot end. */
export function decodeSnapshotEnd(bytes: Buffer): SnapshotEnd | undefined {
  if (bytes.length !== snapshotEndBytes) return undefined;
  return { firstOffset: Number(bytes.readBigUInt64BE(0)), chunks: bytes.readUInt32BE(8) };
}
