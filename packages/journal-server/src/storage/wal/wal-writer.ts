import { assert, type Clock, TurnTask } from '@robustmq/core';
import { crc32c } from '@robustmq/record-batch';
import { isNoSpace } from '../disk.ts';
import type { Replica } from '../replica.ts';
import type { SlabPool } from '../slab.ts';
import type { FrameToAppend } from '../storage.ts';
import {
  BLOCK_HEADER_BYTES,
  blockBytes,
  FIRST_BLOCK_POSITION,
  SECTOR_BYTES,
  writeBlockHeader,
} from './block.ts';
import { Group } from './group.ts';
import type { WalFiles } from './wal-files.ts';
import {
  APPEND_PREFIX_BYTES,
  RECORD_HEADER_BYTES,
  recordType,
  writeAppendFields,
  writeRecordHeader,
} from './wal-record.ts';

/** A group takes no more records beyond this. */
const GROUP_BYTES_MAX = 4 * 1024 * 1024;
/** Pause before a write that found the disk full is tried again. */
const NO_SPACE_RETRY_MS = 100;
const PADDING = Buffer.alloc(SECTOR_BYTES);

export interface WalWriterOptions {
  readonly files: WalFiles;
  readonly slabs: SlabPool;
  readonly clock: Clock;
  /** Of block headers, see {@link blockSeed}. */
  readonly seed: number;
  /** Lsn of the last durable group. */
  readonly durableLsn: number;
  /** The lengths of its replicas are durable. The waiters are called by the writer, after this. */
  readonly onGroup: (group: Group) => void;
  /** A write of the log found no space: it is tried again until there is some. */
  readonly onNoSpace: () => void;
  /** Nothing is written any more; the process has to end. */
  readonly onFatal: (error: Error) => void;
}

/**
 * Writes the log: takes records into memory as they come and makes them durable in groups, one write
 * and one sync each, one at a time. What arrives while a sync runs is the next group; nothing waits
 * for a timer.
 */
export class WalWriter {
  readonly #options: WalWriterOptions;
  /** Takes records; its lsn is the next one. */
  #open: Group | undefined;
  /** Full groups, oldest first. */
  readonly #full: Group[] = [];
  #inFlight: Group | undefined;
  #lsn: number;
  #isStopped = false;
  readonly #turn = new TurnTask(() => this.#writeNext());

  durableLsn: number;
  bytesWritten = 0;
  syncs = 0;
  syncMsSum = 0;
  #startedMs = 0;

  constructor(options: WalWriterOptions) {
    this.#options = options;
    this.durableLsn = options.durableLsn;
    this.#lsn = options.durableLsn;
  }

  /** Lsn of the group that the next record will be in, at least. */
  get nextLsn(): number {
    return this.#open?.lsn ?? this.#lsn + 1;
  }

  /** Milliseconds that the write in flight has taken so far; 0 without one. */
  get syncAgeMs(): number {
    if (this.#inFlight === undefined) return 0;
    return this.#options.clock.monotonicMs() - this.#startedMs;
  }

  /** Takes a frame: its bytes are copied, and its replica's table knows where they are. */
  append(replica: Replica, frame: FrameToAppend): void {
    const frameBytes = frame.header.length + frame.body.length;
    const payloadBytes = APPEND_PREFIX_BYTES + frameBytes;
    const group = this.#groupFor(RECORD_HEADER_BYTES + payloadBytes);
    const slab = this.#options.slabs.withRoom(RECORD_HEADER_BYTES + payloadBytes);
    const start = group.take(slab, RECORD_HEADER_BYTES + payloadBytes);
    const { buffer } = slab;
    assert(buffer !== undefined, 'a slab with room is not evicted');
    writeRecordHeader(buffer, start, recordType.append, payloadBytes);
    replica.idBytes.copy(buffer, start + 8);
    writeAppendFields(buffer, start + RECORD_HEADER_BYTES, {
      index: replica.length,
      position: replica.sizeBytes,
      maxTimestampMs: frame.maxTimestampMs,
      records: frame.records,
    });
    const framePosition = start + RECORD_HEADER_BYTES + APPEND_PREFIX_BYTES;
    frame.header.copy(buffer, framePosition);
    frame.body.copy(buffer, framePosition + frame.header.length);
    replica.memory.push(replica.length, slab, framePosition);
    if (replica.slab !== slab) {
      replica.slab = slab;
      slab.replicas.push(replica);
    }
    if (replica.firstUnsyncedLsn > group.lsn) replica.firstUnsyncedLsn = group.lsn;
    group.records++;
    group.touch(replica);
  }

  /** Takes a record about a replica; `payload` is copied. */
  control(type: number, replica: Replica, payload: Buffer): void {
    const bytes = RECORD_HEADER_BYTES + payload.length;
    const group = this.#groupFor(bytes);
    const slab = this.#options.slabs.withRoom(bytes);
    const start = group.take(slab, bytes);
    const { buffer } = slab;
    assert(buffer !== undefined, 'a slab with room is not evicted');
    writeRecordHeader(buffer, start, type, payload.length);
    replica.idBytes.copy(buffer, start + 8);
    payload.copy(buffer, start + RECORD_HEADER_BYTES);
    group.records++;
  }

  /** Calls `done` when everything taken so far is durable: at once if it is. */
  whenDurable(done: () => void): void {
    const newest = this.#open ?? this.#full.at(-1) ?? this.#inFlight;
    if (newest === undefined) done();
    else newest.waiters.push(done);
  }

  /** Nothing is written after this. */
  stop(): void {
    this.#isStopped = true;
  }

  #groupFor(bytes: number): Group {
    let group = this.#open;
    if (group !== undefined && group.bytes + bytes > GROUP_BYTES_MAX) {
      group.close();
      this.#full.push(group);
      group = undefined;
    }
    if (group === undefined) {
      group = new Group(++this.#lsn);
      // The header stands right before the first record, in the same slab.
      group.take(this.#options.slabs.withRoom(BLOCK_HEADER_BYTES + bytes), BLOCK_HEADER_BYTES);
      this.#open = group;
      if (this.#inFlight === undefined) this.#turn.schedule();
    }
    return group;
  }

  #writeNext(): void {
    if (this.#inFlight !== undefined || this.#isStopped) return;
    let group = this.#full.shift();
    if (group === undefined) {
      group = this.#open;
      if (group === undefined) return;
      group.close();
      this.#open = undefined;
    }
    this.#inFlight = group;
    this.#startedMs = this.#options.clock.monotonicMs();
    this.#write(group);
  }

  #write(group: Group): void {
    if (this.#isStopped) return;
    const { current } = this.#options.files;
    const bytes = blockBytes(group.bytes - BLOCK_HEADER_BYTES);
    const isFirst = current.position === FIRST_BLOCK_POSITION;
    if (current.position + bytes > current.capacity && !isFirst) return this.#advance(group);
    current.file.write(this.#blockOf(group, bytes), current.position, (error) => {
      if (this.#isStopped) return;
      if (error === undefined) this.#sync(group, bytes);
      else if (isNoSpace(error)) this.#writeElsewhere(group);
      else this.#die(error);
    });
  }

  /** The block's parts; its header is written for the place where it goes. */
  #blockOf(group: Group, bytes: number): Buffer[] {
    const { files, seed } = this.#options;
    const parts: Buffer[] = [];
    let crc = 0;
    for (const run of group.runs) {
      const { buffer } = run.slab;
      assert(buffer !== undefined, 'a slab in flight is not evicted');
      const start = parts.length === 0 ? run.start + BLOCK_HEADER_BYTES : run.start;
      crc = crc32c(buffer, start, run.end, crc);
      parts.push(buffer.subarray(run.start, run.end));
    }
    const first = parts[0];
    assert(first !== undefined, 'a group has a header');
    const header = {
      lsn: group.lsn,
      bodyBytes: group.bytes - BLOCK_HEADER_BYTES,
      bodyCrc: crc,
      records: group.records,
      previousDurableLsn: this.durableLsn,
      fileSequence: files.current.sequence,
    };
    writeBlockHeader(first, 0, header, seed);
    if (bytes > group.bytes) parts.push(PADDING.subarray(0, bytes - group.bytes));
    return parts;
  }

  #advance(group: Group): void {
    const pending = this.#options.files.advance();
    if (pending === undefined) return this.#write(group);
    pending.then(
      () => this.#write(group),
      (error: unknown) => {
        if (isNoSpace(error)) this.#retryLater(group);
        else this.#die(error instanceof Error ? error : new Error(String(error)));
      },
    );
  }

  // Half a block may be in the file now. It was never synced and its successor, with the same lsn,
  // takes its place or that of the next file: recovery goes by the lsn and passes over it.
  #writeElsewhere(group: Group): void {
    this.#options.onNoSpace();
    if (this.#options.files.hasSpare) this.#advance(group);
    else this.#retryLater(group);
  }

  #retryLater(group: Group): void {
    this.#options.onNoSpace();
    this.#options.clock.setTimer(NO_SPACE_RETRY_MS, () => this.#write(group));
  }

  #sync(group: Group, bytes: number): void {
    const { files, clock } = this.#options;
    const startedMs = clock.monotonicMs();
    const { current } = files;
    current.file.sync((error) => {
      if (this.#isStopped) return;
      // After a failed sync nobody knows what is on the disk, and the kernel takes the pages for
      // clean: never again on this file (ATC 2020, "Can applications recover from fsync failures?").
      if (error !== undefined) return this.#die(error);
      this.syncs++;
      this.syncMsSum += clock.monotonicMs() - startedMs;
      this.bytesWritten += bytes;
      current.position += bytes;
      current.firstLsn ??= group.lsn;
      current.lastLsn = group.lsn;
      this.#complete(group);
    });
  }

  #complete(group: Group): void {
    this.durableLsn = group.lsn;
    this.#inFlight = undefined;
    group.release();
    // The disk works on while the acknowledgements are sent.
    this.#writeNext();
    this.#options.onGroup(group);
    for (const waiter of group.waiters) waiter();
  }

  #die(error: Error): void {
    this.#isStopped = true;
    this.#options.onFatal(error);
  }
}
