import { OperatingError } from '@robustmq/core';
import type { Replica } from './replica.ts';
import {
  CHUNK_BYTES,
  type FileFrame,
  type FramePlace,
  type SegmentReader,
} from './segment-reader.ts';
import { INDEX_INTERVAL_BYTES } from './sparse-index.ts';
import type { StorageRead } from './storage.ts';
import { appendTimestampBefore } from './wal/wal-record.ts';

export interface ReadRange {
  readonly fromIndex: number;
  readonly limitIndex: number;
  readonly bytesMax: number;
}

/**
 * Reads a replica from memory, where it can, or from its file. Every frame is in one of them: only
 * what is written may be evicted.
 */
export class ReplicaReader {
  readonly #files: SegmentReader;

  constructor(files: SegmentReader) {
    this.#files = files;
  }

  read(replica: Replica, range: ReadRange): StorageRead | Promise<StorageRead> {
    throwIfDamaged(replica);
    const limitIndex = Math.min(range.limitIndex, replica.length);
    const gathered = new Gathering({ ...range, limitIndex });
    if (range.fromIndex >= limitIndex) return gathered;
    const ordinal = replica.memory.find(range.fromIndex);
    const { memory } = replica;
    const frameAt = (at: number): Buffer => memory.frame(at);
    const isFull = ordinal !== undefined && fromMemory(replica, ordinal, gathered, frameAt);
    if (isFull || gathered.hasBatch) return gathered;
    return this.#readFile(replica, { ...range, limitIndex });
  }

  async #readFile(replica: Replica, range: ReadRange): Promise<StorageRead> {
    const index = await this.#files.index(replica);
    const entry = index.entryBefore(range.fromIndex);
    const from = { position: index.positionAt(entry), index: index.indexAt(entry) };
    const gathered = new Gathering(range);
    const { writtenOrdinal } = replica.memory;
    let isFull = false;
    const take = (frame: FileFrame): boolean => {
      if (!gathered.wants(frame.index, frame.records)) return true;
      isFull = !gathered.fits(frame.index, frame.records, frame.bytes);
      if (!isFull) gathered.take(frame.view(), frame.index, frame.records);
      isFull ||= gathered.isEnough;
      return !isFull;
    };
    // The start lies within an index interval of the entry.
    const chunkBytes = Math.min(CHUNK_BYTES, range.bytesMax + 2 * INDEX_INTERVAL_BYTES);
    await this.#files.walk(replica, from, replica.written.bytes, take, chunkBytes);
    // Who awaits a promise looks at the frames in a later call.
    const frameAt = (at: number): Buffer => replica.memory.lentFrame(at);
    if (!isFull && !gathered.hasBatch) {
      isFull = fromMemory(replica, writtenOrdinal, gathered, frameAt);
    }
    // What stood behind the file may have been written to it and let go meanwhile.
    return isFull || gathered.hasBatch ? gathered : this.#readFile(replica, range);
  }

  /** Index of the first frame whose largest time stamp is at least `timestampMs`. */
  async indexByTime(replica: Replica, timestampMs: number): Promise<number | undefined> {
    throwIfDamaged(replica);
    if (replica.length === 0 || timestampMs > replica.maxTimestampMs) return undefined;
    const { bytes } = replica.written;
    return (
      (bytes > 0 ? await this.#timeInFile(replica, timestampMs) : undefined) ??
      timeInMemory(replica, timestampMs)
    );
  }

  async #timeInFile(replica: Replica, timestampMs: number): Promise<number | undefined> {
    const index = await this.#files.index(replica);
    const entry = index.entryByTime(timestampMs);
    if (entry < 0) return undefined;
    const from = { position: index.positionAt(entry), index: index.indexAt(entry) };
    let found: number | undefined;
    await this.#files.walk(replica, from, replica.written.bytes, (frame) => {
      if (!frame.isSnapshot && frame.maxTimestampMs >= timestampMs) found = frame.index;
      return found === undefined;
    });
    return found;
  }

  /** Visits the frames in order, from the last producer snapshot or from the start. */
  async scan(
    replica: Replica,
    fromLastSnapshot: boolean,
    visit: (frame: Buffer) => void,
  ): Promise<void> {
    const start = fromLastSnapshot ? Math.max(0, replica.lastSnapshotBytes) : 0;
    await this.#walkFrom(replica, await this.#placeAt(replica, start), (frame) => {
      visit(frame);
      return true;
    });
  }

  /** Visits all frames in order with their record index and records, until `visit` returns false. */
  async walk(
    replica: Replica,
    visit: (frame: Buffer, index: number, records: number) => boolean,
  ): Promise<void> {
    await this.#walkFrom(replica, { position: 0, index: 0, chain: 0 }, visit);
  }

  async #walkFrom(
    replica: Replica,
    start: FramePlace,
    visit: (frame: Buffer, index: number, records: number) => boolean,
  ): Promise<void> {
    throwIfDamaged(replica);
    let from = start;
    const state = { isWanted: true };
    // The flusher may write on meanwhile; what it has not written is in memory.
    while (state.isWanted && from.position < replica.written.bytes) {
      await this.#files.walk(replica, from, replica.written.bytes, (frame) => {
        from = {
          position: frame.position + frame.bytes,
          index: frame.index + frame.records,
          chain: frame.chain,
        };
        state.isWanted = visit(frame.view(), frame.index, frame.records);
        return state.isWanted;
      });
    }
    if (state.isWanted) visitMemory(replica, from.position, visit);
  }

  /** The frame that begins at byte `position`. */
  async #placeAt(replica: Replica, position: number): Promise<FramePlace> {
    if (position === 0) return { position, index: 0, chain: 0 };
    // In memory the record index is not needed.
    if (position >= replica.written.bytes) return { position, index: 0 };
    const index = await this.#files.index(replica);
    let entry = index.entries - 1;
    while (entry > 0 && index.positionAt(entry) > position) entry--;
    const from = { position: index.positionAt(entry), index: index.indexAt(entry) };
    let place: FramePlace = { position, index: from.index };
    await this.#files.walk(replica, from, replica.written.bytes, (frame) => {
      place = { position: frame.position, index: frame.index };
      return frame.position < position;
    });
    return place;
  }
}

/** Collects the frames of one read. */
class Gathering implements StorageRead {
  readonly frames: Buffer[] = [];
  nextIndex: number;
  hasBatch = false;
  readonly #range: ReadRange;
  /** Frames without records, given with the batch behind them so that no two reads give them. */
  readonly #snapshots: Buffer[] = [];
  #bytes = 0;

  constructor(range: ReadRange) {
    this.#range = range;
    this.nextIndex = range.fromIndex;
  }

  /** Whether a frame ends behind the start, or stands there without records. */
  wants(index: number, records: number): boolean {
    const { fromIndex } = this.#range;
    return records === 0 ? index >= fromIndex : index + records > fromIndex;
  }

  /** A frame that takes no offset never makes a read come to its end: it would not get further. */
  fits(index: number, records: number, bytes: number): boolean {
    const { limitIndex, bytesMax } = this.#range;
    if (index >= limitIndex || index + records > limitIndex) return false;
    return !this.hasBatch || this.#bytes + bytes <= bytesMax;
  }

  get isEnough(): boolean {
    return this.hasBatch && this.#bytes >= this.#range.bytesMax;
  }

  take(frame: Buffer, index: number, records: number): void {
    this.#bytes += frame.length;
    this.nextIndex = index + records;
    if (records === 0) {
      this.#snapshots.push(frame);
      return;
    }
    this.frames.push(...this.#snapshots.splice(0), frame);
    this.hasBatch = true;
  }
}

/** Takes frames from memory; true when one did not fit. */
function fromMemory(
  replica: Replica,
  ordinal: number,
  gathered: Gathering,
  frameAt: (ordinal: number) => Buffer,
): boolean {
  const { memory } = replica;
  for (let at = ordinal; at < memory.endOrdinal && memory.isInMemory(at); at++) {
    const index = memory.indexOf(at);
    const next = at + 1 < memory.endOrdinal ? memory.indexOf(at + 1) : replica.length;
    if (!gathered.fits(index, next - index, memory.bytesOf(at))) return true;
    gathered.take(frameAt(at), index, next - index);
  }
  return false;
}

function timeInMemory(replica: Replica, timestampMs: number): number | undefined {
  const { memory } = replica;
  for (let at = memory.writtenOrdinal; at < memory.endOrdinal; at++) {
    const largest = appendTimestampBefore(memory.bufferOf(at), memory.positionOf(at));
    const next = at + 1 < memory.endOrdinal ? memory.indexOf(at + 1) : replica.length;
    if (next > memory.indexOf(at) && largest >= timestampMs) return memory.indexOf(at);
  }
  return undefined;
}

/** Frames from byte `position` on, which is at or behind what is written. */
function visitMemory(
  replica: Replica,
  position: number,
  visit: (frame: Buffer, index: number, records: number) => boolean,
): void {
  const { memory } = replica;
  let at = replica.written.bytes;
  for (let ordinal = memory.writtenOrdinal; ordinal < memory.endOrdinal; ordinal++) {
    const index = memory.indexOf(ordinal);
    const next = ordinal + 1 < memory.endOrdinal ? memory.indexOf(ordinal + 1) : replica.length;
    if (at >= position && !visit(memory.frame(ordinal), index, next - index)) return;
    at += memory.bytesOf(ordinal);
  }
}

export function throwIfDamaged(replica: Replica): void {
  if (!replica.damaged) return;
  throw new OperatingError(
    'DAMAGED',
    `segment ${replica.manifest.segmentId} is damaged on this node; use another replica`,
  );
}
