import { assert, limits, OperatingError } from '@robustmq/core';
import { batchLastOffsetDelta, batchMaxTimestampMs, FrameCursor } from '@robustmq/record-batch';
import type { Disk, DiskFile } from './disk.ts';
import { FileCache } from './file-cache.ts';
import { readFooter } from './footer.ts';
import { Gate } from './gate.ts';
import type { Replica } from './replica.ts';
import { SparseIndex } from './sparse-index.ts';

/** Read at once while walking a file. */
export const CHUNK_BYTES = 256 * 1024;
/** Indexes of replicas that nobody appends to: entries kept, 24 bytes each. */
const INDEX_ENTRIES_MAX = 1_000_000;

/** A verified frame of a segment file. Valid during the visit, its buffer as long as it is held. */
export interface FileFrame {
  /** Record index of its first record. */
  readonly index: number;
  readonly records: number;
  readonly position: number;
  readonly bytes: number;
  readonly chain: number;
  readonly maxTimestampMs: number;
  readonly isSnapshot: boolean;
  view(): Buffer;
}

/** A place in a segment file where a frame begins. */
export interface FramePlace {
  readonly position: number;
  readonly index: number;
  /** Chain before it, where it is known. */
  readonly chain?: number | undefined;
}

/** Why a replica cannot be used, and which bytes of its file. */
export interface Damage {
  readonly reason: string;
  readonly fromByte: number;
  /** Behind the broken frame; behind all frames when its length is not known. */
  readonly toByte: number;
}

export interface SegmentReaderOptions {
  readonly disk: Disk;
  readonly openFilesMax: number;
  readonly readsAtOnceMax: number;
  /** A checksum failed below what was written: the replica is unusable from now on. */
  readonly onDamage: (replica: Replica, damage: Damage) => void;
  /** A file without a footer was read through: the index could be put behind it. */
  readonly onIndexed: (replica: Replica) => void;
}

/** Reads segment files. Every frame is verified before anybody sees it. */
export class SegmentReader {
  readonly #options: SegmentReaderOptions;
  readonly #files: FileCache;
  readonly #gate: Gate;
  /** Replicas whose index was built for reading, in order of use, with its entries then. */
  readonly #indexed = new Map<Replica, number>();
  #indexEntries = 0;

  constructor(options: SegmentReaderOptions) {
    this.#options = options;
    this.#files = new FileCache(options.disk, options.openFilesMax);
    this.#gate = new Gate(options.readsAtOnceMax);
  }

  /**
   * Visits the frames from `from` up to byte `end` in order, until `visit` returns false. Throws
   * DAMAGED, and marks the replica, when a frame fails its checks. `chunkBytes` are read at once.
   */
  async walk(
    replica: Replica,
    from: FramePlace,
    end: number,
    visit: (frame: FileFrame) => boolean,
    chunkBytes = CHUNK_BYTES,
  ): Promise<void> {
    if (from.position >= end) return;
    const { path } = replica;
    try {
      await this.#gate.through(() =>
        this.#files.use(path, (file) =>
          new FileWalk(replica, file, end, chunkBytes).run(from, visit),
        ),
      );
    } catch (error) {
      if (replica.isDeleted) throw unknownReplica(replica);
      if (!isBroken(error)) throw error;
      const reason = error.message;
      const [fromByte, toByte] = error instanceof BrokenFrame ? error.range : [from.position, end];
      this.#options.onDamage(replica, { reason, fromByte, toByte });
      throw new OperatingError(
        'DAMAGED',
        `segment ${replica.manifest.segmentId} cannot be read on this node (${reason}); read it from another replica`,
      );
    }
  }

  /** The replica's index, complete up to what is written in its file. */
  async index(replica: Replica): Promise<SparseIndex> {
    const entries = this.#indexed.get(replica);
    if (entries !== undefined) {
      this.#indexed.delete(replica);
      this.#indexed.set(replica, entries);
    }
    if (replica.index !== undefined) return replica.index;
    const fromFooter = await this.#fromFooter(replica);
    const index = fromFooter ?? (await this.#fromFrames(replica));
    this.#keepIndex(replica, index);
    if (fromFooter === undefined) this.#options.onIndexed(replica);
    return index;
  }

  async #fromFooter(replica: Replica): Promise<SparseIndex | undefined> {
    if (!replica.hasFooter) return undefined;
    const { path } = replica;
    const footer = await this.#files.use(path, (file) => readFooter(file, replica.sizeBytes));
    // Whoever reads the file through gives it a new one.
    if (footer === undefined) replica.hasFooter = false;
    return footer?.index;
  }

  /** Whether the footer can be read; one that cannot is derived from the frames again, and written. */
  async checkFooter(replica: Replica): Promise<boolean> {
    if (!replica.hasFooter) return true;
    const hadIndex = replica.index !== undefined;
    if ((await this.#fromFooter(replica)) !== undefined) return true;
    await this.index(replica);
    if (hadIndex) this.#options.onIndexed(replica);
    return false;
  }

  async #fromFrames(replica: Replica): Promise<SparseIndex> {
    const index = new SparseIndex();
    let from: FramePlace = { position: 0, index: 0, chain: 0 };
    // The flusher may write on meanwhile.
    while (from.position < replica.written.bytes && replica.index === undefined) {
      await this.walk(replica, from, replica.written.bytes, (frame) => {
        index.add(frame.index, frame.position, frame.maxTimestampMs);
        from = {
          position: frame.position + frame.bytes,
          index: frame.index + frame.records,
          chain: frame.chain,
        };
        return true;
      });
    }
    return replica.index ?? index;
  }

  #keepIndex(replica: Replica, index: SparseIndex): void {
    if (replica.index !== undefined) return;
    replica.index = index;
    this.#indexed.set(replica, index.entries);
    this.#indexEntries += index.entries;
    for (const oldest of this.#indexed.keys()) {
      if (this.#indexEntries <= INDEX_ENTRIES_MAX || oldest === replica) return;
      this.forgetIndex(oldest);
    }
  }

  /** Lets go of an index that can be had from the file again. */
  forgetIndex(replica: Replica): void {
    this.#indexEntries -= this.#indexed.get(replica) ?? 0;
    this.#indexed.delete(replica);
    replica.index = undefined;
  }

  /** Closes the replica's file: it is removed. */
  async drop(replica: Replica): Promise<void> {
    this.forgetIndex(replica);
    await this.#files.drop(replica.path);
  }

  async close(): Promise<void> {
    await this.#files.close();
  }
}

/** Why a frame in a file cannot be used. */
class BrokenFrame extends Error {
  override readonly name = 'BrokenFrame';
  /** From which byte, and behind which. */
  readonly range: readonly [number, number];

  constructor(message: string, range: readonly [number, number]) {
    super(message);
    this.range = range;
  }
}

/** Whether the data itself is bad or gone, unlike, say, a lack of file descriptors. */
function isBroken(error: unknown): error is Error {
  if (error instanceof BrokenFrame) return true;
  if (!(error instanceof Error) || !('code' in error)) return false;
  return error.code === 'EIO' || error.code === 'ENOENT';
}

/** One pass over a file. It is the frame that it visits. */
class FileWalk implements FileFrame {
  readonly #replica: Replica;
  readonly #file: DiskFile;
  readonly #end: number;
  readonly #chunkBytes: number;
  readonly #cursor = new FrameCursor();
  index = 0;
  records = 0;
  position = 0;
  bytes = 0;
  chain = 0;
  maxTimestampMs = 0;
  isSnapshot = false;

  constructor(replica: Replica, file: DiskFile, end: number, chunkBytes: number) {
    this.#replica = replica;
    this.#file = file;
    this.#end = end;
    this.#chunkBytes = chunkBytes;
  }

  view(): Buffer {
    return this.#cursor.buffer.subarray(this.#cursor.position, this.#cursor.end);
  }

  async run(from: FramePlace, visit: (frame: FileFrame) => boolean): Promise<void> {
    let { position } = from;
    let chain = from.chain;
    let wanted = this.#chunkBytes;
    this.index = from.index;
    while (position < this.#end) {
      const chunk = Buffer.allocUnsafeSlow(Math.min(wanted, this.#end - position));
      const got = await this.#file.read(chunk, position);
      if (got < chunk.length) {
        const fileEnd = position + got;
        throw new BrokenFrame(`the file ends at byte ${fileEnd}`, [fileEnd, this.#end]);
      }
      this.#cursor.reset(chunk);
      let used = 0;
      for (;;) {
        const step = this.#cursor.next();
        if (step === 'corrupt') this.#fail(position + used, String(this.#cursor.fault));
        if (step !== 'frame') break;
        this.#take(position + used, chain);
        chain = this.chain;
        used = this.#cursor.end;
        if (!visit(this)) return;
        this.index += this.records;
      }
      if (used === 0) {
        if (wanted > limits.batchBytesMax || position + chunk.length >= this.#end) {
          this.#fail(position, 'it is cut off');
        }
        wanted = limits.batchBytesMax + 1;
      } else {
        wanted = this.#chunkBytes;
      }
      position += used;
    }
  }

  #take(position: number, previousChain: number | undefined): void {
    const cursor = this.#cursor;
    const fault = cursor.verify(previousChain);
    this.bytes = cursor.end - cursor.position;
    if (fault !== undefined) this.#fail(position, fault, position + this.bytes);
    this.position = position;
    this.chain = cursor.chain;
    this.isSnapshot = cursor.kind !== 'batch';
    if (this.isSnapshot) {
      this.records = 0;
      this.maxTimestampMs = 0;
      return;
    }
    this.records = batchLastOffsetDelta(cursor.buffer, cursor.payloadStart) + 1;
    this.maxTimestampMs = batchMaxTimestampMs(cursor.buffer, cursor.payloadStart);
    const base = this.#replica.baseOffset;
    assert(base !== undefined, 'a replica with batches has a base offset');
    if (cursor.baseOffset - base !== this.index) {
      const end = position + this.bytes;
      this.#fail(position, `it begins at offset ${cursor.baseOffset}`, end);
    }
  }

  #fail(position: number, reason: string, end = this.#end): never {
    throw new BrokenFrame(`the frame at byte ${position} is broken: ${reason}`, [position, end]);
  }
}

function unknownReplica(replica: Replica): OperatingError {
  return new OperatingError(
    'SEGMENT_UNKNOWN',
    `segment ${replica.manifest.segmentId} was deleted on this node; resolve it again`,
  );
}
