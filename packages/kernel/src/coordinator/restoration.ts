import { type Offset, OperatingError } from '@robustmq/core';
import { decodeSnapshotEnd, type RecordKind } from './coordinator-record.ts';
import type { ReplayVisitor } from './log-replay.ts';

/** A state that is being restored. */
export interface RestoredState {
  apply(kind: RecordKind, value: Buffer, offset: Offset): void;
  batchEnd(endOffset: Offset): void;
  restoreChunk(kind: 'snapshot-chunk' | 'outbox-chunk', chunk: Buffer): void;
}

interface HeldRecord {
  /** `batch-end`: the batch ends before `offset`. */
  readonly kind: RecordKind | 'batch-end';
  readonly value: Buffer;
  readonly offset: Offset;
}

const nothing: Buffer = Buffer.alloc(0);

/**
 * Makes the state of a coordinator out of its log (DESIGN.md, "Takeover"): from offset 0 by applying
 * every record, from elsewhere by the first finished snapshot and every record since its beginning.
 */
export class Restoration<State extends RestoredState> implements ReplayVisitor {
  readonly #newState: () => State;
  readonly #report: (message: string) => void;
  #state: State;
  /** Complete up to the last record seen. */
  #isComplete: boolean;
  /** Offset of the begin record of the snapshot that is being read. */
  #beginOffset = -1;
  #chunks = 0;
  #held: HeldRecord[] = [];
  #bytesSinceSnapshot = 0;
  #snapshotBytes = 0;

  /** `newState` makes an empty state; `report` is told what had to be passed over. */
  constructor(fromOffset: Offset, newState: () => State, report: (message: string) => void) {
    this.#newState = newState;
    this.#report = report;
    this.#state = newState();
    this.#isComplete = fromOffset === 0;
  }

  /** The state after the last record. Throws DAMAGED when there is neither a beginning nor a snapshot. */
  get state(): State {
    if (this.#isComplete) return this.#state;
    throw new OperatingError(
      'DAMAGED',
      "a coordinator's log begins with no finished snapshot; keep its segments and report this",
    );
  }

  /** Bytes of records since the snapshot that the state was made from. */
  get bytesSinceSnapshot(): number {
    return this.#bytesSinceSnapshot;
  }

  /** Bytes of that snapshot. */
  get snapshotBytes(): number {
    return this.#snapshotBytes;
  }

  record(kind: RecordKind, value: Buffer, offset: Offset): void {
    if (this.#isComplete) {
      this.#bytesSinceSnapshot += value.length;
      this.#state.apply(kind, value, offset);
      return;
    }
    switch (kind) {
      case 'snapshot-begin':
        this.#begin(offset);
        return;
      case 'snapshot-chunk':
      case 'outbox-chunk':
        this.#chunk(kind, value);
        return;
      case 'snapshot-end':
        this.#end(value);
        return;
      default:
        if (this.#beginOffset >= 0) this.#held.push({ kind, value: Buffer.from(value), offset });
    }
  }

  batchEnd(endOffset: Offset): void {
    if (this.#isComplete) this.#state.batchEnd(endOffset);
    else if (this.#held.length > 0) {
      this.#held.push({ kind: 'batch-end', value: nothing, offset: endOffset });
    }
  }

  broken(baseOffset: Offset, reason: string): void {
    this.#report(`the batch at offset ${baseOffset} cannot be read: ${reason}`);
  }

  #begin(beginOffset: number): void {
    if (this.#chunks > 0) this.#state = this.#newState();
    this.#beginOffset = beginOffset;
    this.#chunks = 0;
    this.#held = [];
    this.#snapshotBytes = 0;
  }

  #chunk(kind: 'snapshot-chunk' | 'outbox-chunk', chunk: Buffer): void {
    if (this.#beginOffset < 0) return;
    this.#chunks++;
    this.#snapshotBytes += chunk.length;
    this.#state.restoreChunk(kind, chunk);
  }

  #end(value: Buffer): void {
    if (this.#beginOffset < 0) return;
    const end = decodeSnapshotEnd(value);
    if (end?.firstOffset !== this.#beginOffset || end.chunks !== this.#chunks) {
      this.#report(`the snapshot at offset ${this.#beginOffset} lacks chunks`);
      this.#begin(-1);
      return;
    }
    this.#isComplete = true;
    const held = this.#held;
    this.#held = [];
    for (const record of held) this.#applyHeld(record);
  }

  #applyHeld({ kind, value, offset }: HeldRecord): void {
    if (kind === 'batch-end') this.batchEnd(offset);
    else this.record(kind, value, offset);
  }
}
