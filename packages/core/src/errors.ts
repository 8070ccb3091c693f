/**
 * The one table of operating errors. A caller may try again (`retriable`) without asking anybody;
 * `grpc` is the status the code travels under. Each protocol package answers every row.
 */
export const errorTable = {
  /** The request itself is wrong; sending it again cannot help. */
  INVALID_ARGUMENT: { number: 1, retriable: false, grpc: 3 },
  NOT_FOUND: { number: 2, retriable: false, grpc: 5 },
  ALREADY_EXISTS: { number: 3, retriable: false, grpc: 6 },
  /** Whoever was asked is not what the caller takes it for; the hint says who is. */
  NOT_LEADER: { number: 4, retriable: true, grpc: 9 },
  /** A holder of a higher epoch exists (segment, lease, session or placement). */
  FENCED: { number: 5, retriable: false, grpc: 9 },
  /** The shard has a writer with a higher writer epoch. */
  WRITER_FENCED: { number: 6, retriable: false, grpc: 9 },
  /** The producer id is in use with a higher producer epoch. */
  PRODUCER_FENCED: { number: 7, retriable: false, grpc: 9 },
  /** A batch of this producer that comes before it has not arrived. */
  OUT_OF_ORDER_SEQUENCE: { number: 8, retriable: true, grpc: 9 },
  /** The batch was appended earlier than the window of five remembers: done, offset unknown. */
  DUPLICATE_SEQUENCE: { number: 9, retriable: false, grpc: 6 },
  OFFSET_OUT_OF_RANGE: { number: 10, retriable: false, grpc: 11 },
  /** Bytes that fail their checksum or their own lengths. */
  CORRUPT_BATCH: { number: 11, retriable: false, grpc: 15 },
  BATCH_TOO_LARGE: { number: 12, retriable: false, grpc: 3 },
  /** A bound was reached: come back later. */
  RESOURCE_EXHAUSTED: { number: 13, retriable: true, grpc: 8 },
  /** Free space is below the reserve: reads go on, appends are refused until there is space. */
  DISK_FULL: { number: 14, retriable: true, grpc: 8 },
  UNAVAILABLE: { number: 15, retriable: true, grpc: 14 },
  /** Nobody knows whether it was done. Retry with the same producer sequence. */
  INDETERMINATE: { number: 16, retriable: true, grpc: 4 },
  /** This node has no replica of that segment. Never means that the data does not exist. */
  SEGMENT_UNKNOWN: { number: 17, retriable: true, grpc: 5 },
  /** The replica of this node fails its checksums; another one has to serve. */
  DAMAGED: { number: 18, retriable: true, grpc: 15 },
  WRONG_CLUSTER: { number: 19, retriable: false, grpc: 7 },
  /** A compare-and-swap lost: read again and decide anew. */
  CONFLICT: { number: 20, retriable: true, grpc: 10 },
  /** The watch cannot resume from that revision: take the full list. */
  COMPACTED: { number: 21, retriable: true, grpc: 11 },
  /** An earlier append to this shard on this stream was refused; resume before sending more. */
  STREAM_SUSPENDED: { number: 22, retriable: true, grpc: 9 },
  NOT_AUTHORIZED: { number: 23, retriable: false, grpc: 7 },
  CANCELLED: { number: 24, retriable: false, grpc: 1 },
  UNSUPPORTED: { number: 25, retriable: false, grpc: 12 },
  INTERNAL: { number: 26, retriable: false, grpc: 13 },
  /** Fewer journals are there than the topic's `min.insync.replicas`. */
  NOT_ENOUGH_REPLICAS: { number: 27, retriable: true, grpc: 14 },
  /** Placement decides from an old copy of its store: journals know of changes that it does not have. */
  OLD_STORE: { number: 28, retriable: true, grpc: 9 },
} as const satisfies Record<string, { number: number; retriable: boolean; grpc: number }>;

export type ErrorCode = keyof typeof errorTable;

const codeByNumber = new Map<number, ErrorCode>(
  (Object.keys(errorTable) as ErrorCode[]).map((code) => [errorTable[code].number, code]),
);

/** The number a code has on the wire. 0 is reserved for "no error". */
export function errorNumber(code: ErrorCode): number {
  return errorTable[code].number;
}

/** The code of a wire number; an unknown number is INTERNAL, so that a newer peer is understood. */
export function errorCodeOf(number: number): ErrorCode {
  return codeByNumber.get(number) ?? 'INTERNAL';
}

/** Where a caller should go instead. Every field is a hint: it may be stale. */
export interface ErrorHint {
  readonly nodeId?: string;
  /** HOST:PORT to ask instead, with NOT_LEADER of a placement server. */
  readonly address?: string;
  readonly epoch?: number;
  readonly retryAfterMs?: number;
  /** First offset that can be read, with OFFSET_OUT_OF_RANGE. */
  readonly earliestOffset?: number;
}

/**
 * An operating error. Its message says what was wrong, with what value, and what to do. It has a stack
 * only as INTERNAL: the others are answers, made by the thousand when a journal goes, and a stack costs
 * more than all the rest of one.
 */
export class OperatingError extends Error {
  override readonly name = 'OperatingError';
  readonly code: ErrorCode;
  readonly hint: ErrorHint;

  constructor(code: ErrorCode, message: string, hint: ErrorHint = {}) {
    const frames = Error.stackTraceLimit;
    if (code !== 'INTERNAL') Error.stackTraceLimit = 0;
    super(message);
    Error.stackTraceLimit = frames;
    this.code = code;
    this.hint = hint;
  }

  get retriable(): boolean {
    return errorTable[this.code].retriable;
  }
}

/** Whatever was thrown, as an operating error; a foreign error becomes INTERNAL with its message. */
export function toOperatingError(thrown: unknown): OperatingError {
  if (thrown instanceof OperatingError) return thrown;
  return new OperatingError('INTERNAL', thrown instanceof Error ? thrown.message : String(thrown));
}

/**
 * What was thrown, if it is an operating error, also one that another process calls INTERNAL: somebody
 * else's bug ends nobody here. Throws on whatever is a bug of this process.
 */
export function expectOperatingError(thrown: unknown): OperatingError {
  if (thrown instanceof OperatingError) return thrown;
  throw thrown;
}
