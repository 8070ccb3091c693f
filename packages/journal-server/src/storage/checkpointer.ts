import { TurnTask } from '@robustmq/core';
import { ByteWriter } from './bytes.ts';
import { type Checkpoint, writeCheckpoint, writeEntry } from './checkpoint.ts';
import type { Disk } from './disk.ts';
import type { Replica } from './replica.ts';
import type { WalFiles } from './wal/wal-files.ts';
import type { WalWriter } from './wal/wal-writer.ts';

/** Entries taken before others may run. */
const ENTRIES_PER_SLICE = 2_000;

export interface CheckpointerOptions {
  readonly disk: Disk;
  readonly replicas: ReadonlyMap<unknown, Replica>;
  readonly files: WalFiles;
  readonly writer: WalWriter;
  /** Files of removed replicas are gone, durably, when it resolves. */
  readonly settleDeletes: () => Promise<void>;
}

/**
 * Writes checkpoints: who the replicas are and how much of each is in its file. Between two of them
 * the log itself says what changed, so their number goes with the log's files, not with the writes.
 */
export class Checkpointer {
  readonly #options: CheckpointerOptions;
  #newest: Checkpoint;
  /** Where the older slot, which has to do when the newer one is damaged, begins to replay. */
  #olderReplayFrom: number;
  #work: Promise<void> = Promise.resolve();

  constructor(options: CheckpointerOptions, last: Checkpoint) {
    this.#options = options;
    this.#newest = last;
    this.#olderReplayFrom = 0;
  }

  /** Log files below this are needed by neither slot. */
  get neededFrom(): number {
    return Math.min(this.#olderReplayFrom, this.#newest.replayFrom);
  }

  /** Whether one more checkpoint would let go of log files. */
  get canAdvance(): boolean {
    return this.#olderReplayFrom < this.#newest.replayFrom;
  }

  /** One at a time. */
  write(): Promise<void> {
    const done = this.#work.then(() => this.#write());
    this.#work = done.catch(() => undefined);
    return done;
  }

  async #write(): Promise<void> {
    const { disk, writer, replicas, settleDeletes } = this.#options;
    await settleDeletes();
    const startLsn = writer.nextLsn;
    const from = this.#replayStart(startLsn);
    const entries = new ByteWriter(64 * 1024);
    let count = 0;
    for (const replica of replicas.values()) {
      writeEntry(entries, replica);
      count++;
      if (count % ENTRIES_PER_SLICE === 0) await nextTurn();
    }
    // An entry may name what is only accepted; by the time it is on the disk that is durable.
    await new Promise<void>((resolve) => writer.whenDurable(resolve));
    const next: Checkpoint = {
      number: this.#newest.number + 1,
      ...from,
      startLsn,
      durableLsn: writer.durableLsn,
    };
    await writeCheckpoint(disk, next, entries, count);
    this.#olderReplayFrom = this.#newest.replayFrom;
    this.#newest = next;
  }

  #replayStart(startLsn: number): { replayFrom: number; replayLsn: number } {
    let oldestLsn = startLsn;
    for (const replica of this.#options.replicas.values()) {
      oldestLsn = Math.min(oldestLsn, replica.firstUnsyncedLsn);
    }
    const { used } = this.#options.files;
    // A file without a block gets the group behind the last durable one first.
    let from = used.at(-1);
    let replayLsn = this.#options.writer.durableLsn + 1;
    for (const file of used) {
      if (file.firstLsn === undefined) continue;
      if (file.firstLsn > oldestLsn) break;
      from = file;
      replayLsn = file.firstLsn;
    }
    return { replayFrom: from?.sequence ?? 0, replayLsn };
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => new TurnTask(resolve).schedule());
}
