import { assert, type Clock, limits, type Offset, TurnTask } from '@robustmq/core';
import type { CoordinatorLog } from './coordinator-log.ts';
import { encodeSnapshotEnd } from './coordinator-record.ts';
import type { MachineState } from './machine-state.ts';

/** When a coordinator makes a snapshot. */
export interface SnapshotPolicy {
  /** After so many bytes since the last one (and at least as many as that one has). Default 16 MiB. */
  readonly bytesMin: number;
  /** After so many records since the last one. Default 500,000. */
  readonly recordsMax: number;
}

export const defaultSnapshotPolicy: SnapshotPolicy = {
  bytesMin: 16 * 1024 * 1024,
  recordsMax: 500_000,
};

export interface SnapshotWriterOptions {
  readonly log: CoordinatorLog;
  readonly state: MachineState;
  readonly clock: Clock;
  readonly policy: SnapshotPolicy;
  /** What the state was restored from. */
  readonly restored: { readonly bytesSinceSnapshot: number; readonly snapshotBytes: number };
  /** The snapshot is committed: nothing before `firstOffset` is needed any more. */
  readonly finished: (firstOffset: Offset) => void;
}

const sliceMs = 5;
const sliceBytes = 512 * 1024;
/** A chunk has to fit into a batch. */
const chunkBytesMax = limits.batchBytesMax - 128 * 1024;
const nothing: Buffer = Buffer.alloc(0);

interface RunningSnapshot {
  readonly firstOffset: Offset;
  readonly outboxChunks: Iterator<Buffer>;
  readonly machineChunks: Iterator<Buffer>;
  chunks: number;
  bytes: number;
}

/**
 * Writes snapshots into a coordinator's log, in slices between other records; the next slice waits for
 * the commit of the last (DESIGN.md, "Snapshots").
 */
export class SnapshotWriter {
  readonly #options: SnapshotWriterOptions;
  readonly #turn = new TurnTask(() => this.#begin());
  #running: RunningSnapshot | undefined;
  #isRequested = false;
  #isStopped = false;
  /** `appendedBytes` of the log at which the bytes since the last snapshot are 0. */
  #bytesBase: number;
  #offsetBase: number;
  #lastBytes: number;
  #onFinished: (() => void)[] = [];

  constructor(options: SnapshotWriterOptions) {
    this.#options = options;
    this.#bytesBase = -options.restored.bytesSinceSnapshot;
    this.#lastBytes = options.restored.snapshotBytes;
    this.#offsetBase = options.log.nextOffset;
  }

  /** A snapshot runs or is due. */
  get isDue(): boolean {
    if (this.#running !== undefined || this.#isRequested) return true;
    const { log, policy } = this.#options;
    const bytesSince = log.appendedBytes - this.#bytesBase;
    if (bytesSince >= Math.max(policy.bytesMin, this.#lastBytes)) return true;
    return log.nextOffset - this.#offsetBase >= policy.recordsMax;
  }

  /** Begins one in a turn of its own when it is due. */
  poke(): void {
    if (this.#running === undefined && !this.#isStopped && this.isDue) this.#turn.schedule();
  }

  request(): void {
    this.#isRequested = true;
    this.poke();
  }

  /** Resolves when no snapshot runs or is due, or the writer has stopped. */
  async idle(): Promise<void> {
    while (this.isDue && !this.#isStopped) {
      this.poke();
      await new Promise<void>((resolve) => this.#onFinished.push(resolve));
    }
  }

  stop(): void {
    this.#isStopped = true;
    this.#running = undefined;
    this.#wake();
  }

  /** At the beginning of a batch, outside of every call into the machine: the state is the log's. */
  #begin(): void {
    if (this.#running !== undefined || this.#isStopped || !this.isDue) return;
    const { log, state } = this.#options;
    this.#isRequested = false;
    log.cut();
    log.boundary();
    this.#bytesBase = log.appendedBytes;
    this.#running = {
      firstOffset: log.append('snapshot-begin', nothing),
      outboxChunks: state.outbox.snapshot()[Symbol.iterator](),
      machineChunks: state.machine.snapshot(),
      chunks: 0,
      bytes: 0,
    };
    this.#slice();
  }

  #slice(): void {
    const running = this.#running;
    if (running === undefined) return;
    const { log, clock } = this.#options;
    const endMs = clock.monotonicMs() + sliceMs;
    const endBytes = running.bytes + sliceBytes;
    let isLast = false;
    while (!isLast && running.bytes < endBytes && clock.monotonicMs() < endMs) {
      log.boundary();
      isLast = !this.#writeChunk(running);
    }
    if (isLast) {
      log.boundary();
      log.append('snapshot-end', encodeSnapshotEnd(running));
    }
    log.afterCommit({
      committed: () => (isLast ? this.#finish(running) : this.#slice()),
      abandoned: () => {},
    });
  }

  /** False when there is none left. */
  #writeChunk(running: RunningSnapshot): boolean {
    const ofOutbox = running.outboxChunks.next();
    const step = ofOutbox.done === true ? running.machineChunks.next() : ofOutbox;
    if (step.done === true) return false;
    const chunk = step.value;
    assert(chunk.length <= chunkBytesMax, 'a chunk of a snapshot fits into a batch');
    const kind = ofOutbox.done === true ? 'snapshot-chunk' : 'outbox-chunk';
    this.#options.log.append(kind, chunk);
    running.chunks++;
    running.bytes += chunk.length;
    return true;
  }

  #finish(running: RunningSnapshot): void {
    if (this.#running !== running) return;
    this.#running = undefined;
    this.#lastBytes = running.bytes;
    this.#bytesBase += running.bytes;
    this.#offsetBase = running.firstOffset + running.chunks;
    this.#options.finished(running.firstOffset);
    this.#wake();
    this.poke();
  }

  #wake(): void {
    const waiting = this.#onFinished;
    this.#onFinished = [];
    for (const resolve of waiting) resolve();
  }
}
