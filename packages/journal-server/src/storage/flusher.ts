import { type Clock, delay } from '@robustmq/core';
import type { Disk, DiskFile } from './disk.ts';
import { isNoSpace, syncFile, writeAll } from './disk.ts';
import { encodeFooter } from './footer.ts';
import { chainAt } from './frame-fields.ts';
import { Gate } from './gate.ts';
import { NOTHING, type Mark, type Replica } from './replica.ts';
import type { SegmentReader } from './segment-reader.ts';
import { segmentFolder } from './segment-file.ts';
import type { Slab, SlabPool } from './slab.ts';
import type { SparseIndex } from './sparse-index.ts';
import { appendTimestampBefore } from './wal/wal-record.ts';

/** Gathered for one write to a segment file; a larger frame goes by itself. */
const WRITE_BYTES_MAX = 1024 * 1024;
/** A frame of so many bytes is written from where it lies: copying it costs more than one buffer more. */
const FRAME_BYTES_AS_IT_IS = 16 * 1024;
/** Files written or synced at once, so that the log's syncs find a free thread. */
const FILES_AT_ONCE_MAX = 4;
const NO_SPACE_RETRY_MS = 1_000;

export interface FlusherOptions {
  readonly disk: Disk;
  readonly slabs: SlabPool;
  readonly reader: SegmentReader;
  readonly clock: Clock;
  /** Bytes of a segment file that are synced at once while it is filled; see `StorageLimits`. */
  readonly syncBytes: number;
  /** So many bytes went from memory to segment files. */
  readonly onWritten: (bytes: number) => void;
  readonly onNoSpace: () => void;
  readonly onFatal: (error: Error) => void;
}

/**
 * Fills segment files from memory, behind the log: a replica is written when it has gathered enough,
 * and synced when much of it is not, or its log file is to be used again. All work on one replica's
 * file is one sequence.
 */
export class Flusher {
  readonly #options: FlusherOptions;
  readonly #gate = new Gate(FILES_AT_ONCE_MAX);
  /** Buffers to gather in; one at most for each file at work. */
  readonly #scratch: Buffer[] = [];
  readonly #running = new Set<Promise<void>>();
  readonly #stopping = new AbortController();
  #isStopped = false;

  constructor(options: FlusherOptions) {
    this.#options = options;
  }

  /** Writes a replica's durable frames in the background. */
  request(replica: Replica): void {
    if (replica.isFlushQueued || this.#isStopped) return;
    replica.isFlushQueued = true;
    this.onFile(replica, async () => {
      replica.isFlushQueued = false;
      await this.#writeFrames(replica);
      const unsyncedBytes = replica.written.bytes - replica.synced.bytes;
      if (!replica.isComplete && unsyncedBytes < this.#options.syncBytes) return;
      const synced = await this.#syncFile(replica);
      await this.#nameFiles([synced]);
    }).catch((error: unknown) => this.#fail(error));
  }

  /**
   * Writes and syncs every one of these replicas: afterwards none needs the log up to group `lsn`.
   * Waits for space if it must. With `lsn` undefined frames are written, and nothing is synced.
   */
  async drain(replicas: Iterable<Replica>, lsn: number | undefined): Promise<void> {
    const synced: SyncedFile[] = [];
    const jobs: Promise<void>[] = [];
    for (const replica of replicas) jobs.push(this.#drainOne(replica, lsn, synced));
    await Promise.all(jobs);
    await this.#nameFiles(synced);
  }

  async #drainOne(replica: Replica, lsn: number | undefined, synced: SyncedFile[]): Promise<void> {
    while (!this.#isStopped) {
      try {
        return await this.onFile(replica, async () => {
          await this.#writeFrames(replica);
          if (lsn === undefined || replica.firstUnsyncedLsn > lsn) return;
          const done = await this.#syncFile(replica);
          if (replica.isNamed) noteSynced(done);
          else synced.push(done);
        });
      } catch (error) {
        if (replica.isDeleted) return;
        if (!isNoSpace(error)) throw error;
        this.#options.onNoSpace();
        await this.#pause();
      }
    }
  }

  /** Makes the names of new files durable, each folder once; only then do their marks count. */
  async #nameFiles(synced: readonly SyncedFile[]): Promise<void> {
    const folders = new Set<string>();
    for (const { replica } of synced) {
      if (!replica.isNamed) folders.add(segmentFolder(replica.fileId));
    }
    for (const folder of folders) await this.#options.disk.syncFolder(folder);
    for (const file of synced) noteSynced(file);
  }

  /** Runs `work` after everything else on the replica's file; never for a deleted one. */
  onFile(replica: Replica, work: () => Promise<void>): Promise<void> {
    const done = replica.fileWork.then(() =>
      this.#gate.through(async () => {
        if (!replica.isDeleted && !this.#isStopped) await work();
      }),
    );
    const ended = done.catch(() => undefined);
    replica.fileWork = ended;
    this.#running.add(ended);
    void ended.then(() => this.#running.delete(ended));
    return done;
  }

  async #writeFrames(replica: Replica): Promise<void> {
    if (replica.written.bytes >= replica.durableBytes) return;
    await this.#withFile(replica, async (file) => {
      while (replica.written.bytes < replica.durableBytes && !replica.isDeleted) {
        const scratch = this.#scratch.pop() ?? Buffer.allocUnsafeSlow(WRITE_BYTES_MAX);
        const batch = gather(replica, scratch);
        for (const slab of batch.slabs) slab.writesInFlight++;
        try {
          await writeAll(file, batch.pieces, replica.written.bytes);
        } finally {
          for (const slab of batch.slabs) slab.writesInFlight--;
          this.#scratch.push(scratch);
        }
        this.#noteWritten(replica, batch);
      }
    });
  }

  #noteWritten(replica: Replica, batch: Gathered): void {
    if (replica.isDeleted) return;
    const { memory } = replica;
    const before = replica.written.bytes;
    for (let at = memory.writtenOrdinal, position = before; at < batch.endOrdinal; at++) {
      const timestampMs = appendTimestampBefore(memory.bufferOf(at), memory.positionOf(at));
      replica.index?.add(memory.indexOf(at), position, timestampMs);
      position += memory.bytesOf(at);
    }
    memory.markWritten(batch.endOrdinal);
    replica.written = batch.mark;
    this.#options.onWritten(batch.mark.bytes - before);
    this.#options.slabs.evict();
  }

  /** Syncs what is written, with the footer behind it if that is all there will be. */
  async #syncFile(replica: Replica): Promise<SyncedFile> {
    const mark = replica.written;
    const needsFooter = isReadyForFooter(replica);
    if (!needsFooter && mark.bytes <= replica.synced.bytes) {
      return { replica, mark, hasFooter: replica.hasFooter };
    }
    const index = needsFooter ? replica.index : undefined;
    await this.#withFile(replica, async (file) => {
      if (index !== undefined) await writeFooter(file, replica, index);
      await syncOnce(file);
    });
    if (needsFooter) this.#options.reader.forgetIndex(replica);
    return { replica, mark, hasFooter: replica.hasFooter || needsFooter };
  }

  async #withFile(replica: Replica, work: (file: DiskFile) => Promise<void>): Promise<void> {
    const file = await this.#options.disk.open(replica.path, 'create');
    try {
      await work(file);
    } finally {
      await file.close();
    }
  }

  #fail(error: unknown): void {
    if (this.#isStopped) return;
    // The log still has the frames: they are written when there is space, or on the next drain.
    if (isNoSpace(error)) this.#options.onNoSpace();
    else this.#options.onFatal(error instanceof Error ? error : new Error(String(error)));
  }

  async #pause(): Promise<void> {
    try {
      await delay(this.#options.clock, NO_SPACE_RETRY_MS, this.#stopping.signal);
    } catch (error) {
      if (!this.#isStopped) throw error;
    }
  }

  /** Begins nothing more and resolves when what runs has ended. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#stopping.abort();
    await Promise.all(this.#running);
  }
}

interface SyncedFile {
  readonly replica: Replica;
  readonly mark: Mark;
  readonly hasFooter: boolean;
}

interface Gathered {
  readonly pieces: readonly Buffer[];
  /** Pieces that were not copied lie in these; one may stand in the list more than once. */
  readonly slabs: readonly Slab[];
  readonly endOrdinal: number;
  readonly mark: Mark;
}

/**
 * The next frames that are durable in the log and not in the file, up to the size of `scratch` or one that
 * is larger. Small ones are copied to it, since a write costs per buffer.
 */
function gather(replica: Replica, scratch: Buffer): Gathered {
  const { memory, written, durableBytes } = replica;
  const pieces: Buffer[] = [];
  const slabs: Slab[] = [];
  let at = memory.writtenOrdinal;
  let bytes = 0;
  let copied = 0;
  let firstCopied = 0;
  const endCopied = (): void => {
    if (copied > firstCopied) pieces.push(scratch.subarray(firstCopied, copied));
    firstCopied = copied;
  };
  while (at < memory.endOrdinal && written.bytes + bytes < durableBytes) {
    const frameBytes = memory.bytesOf(at);
    if (bytes > 0 && bytes + frameBytes > scratch.length) break;
    if (frameBytes >= FRAME_BYTES_AS_IT_IS) {
      endCopied();
      pieces.push(memory.frame(at));
      slabs.push(memory.slabOf(at));
    } else {
      const position = memory.positionOf(at);
      copied += memory.bufferOf(at).copy(scratch, copied, position, position + frameBytes);
    }
    bytes += frameBytes;
    at++;
  }
  endCopied();
  return { pieces, slabs, endOrdinal: at, mark: markAt(replica, at, bytes) };
}

/** `bytes` behind what is written, and before frame `endOrdinal`. */
function markAt(replica: Replica, endOrdinal: number, bytes: number): Mark {
  const { memory, written, length } = replica;
  const records = endOrdinal < memory.endOrdinal ? memory.indexOf(endOrdinal) : length;
  const last = endOrdinal - 1;
  const chain = chainAt(memory.bufferOf(last), memory.positionOf(last));
  return { records, bytes: written.bytes + bytes, chain };
}

/**
 * A footer stands behind all there will ever be. While a cut is not durable the bytes that it would
 * overwrite may still be wanted. Without its index, after a start, a file gets its footer when somebody
 * has read it through.
 */
function isReadyForFooter(replica: Replica): boolean {
  if (replica.hasFooter || replica.damaged || replica.isCutPending) return false;
  const isLast = replica.isComplete && replica.written.bytes === replica.sizeBytes;
  return isLast && replica.index !== undefined;
}

/** A sync that failed is never repeated: the kernel takes the lost pages for clean. */
async function syncOnce(file: DiskFile): Promise<void> {
  try {
    await syncFile(file);
  } catch (error) {
    throw new Error('a segment file could not be synced', { cause: error });
  }
}

async function writeFooter(file: DiskFile, replica: Replica, index: SparseIndex): Promise<void> {
  const footer = encodeFooter(replica, index);
  await writeAll(file, [footer], replica.sizeBytes);
  await file.truncate(replica.sizeBytes + footer.length);
}

/** A file up to `mark` is on the disk, and its name is durable. */
function noteSynced({ replica, mark, hasFooter }: SyncedFile): void {
  replica.isNamed = true;
  if (hasFooter) replica.hasFooter = true;
  // A seal may have cut the replica since.
  const synced = mark.bytes > replica.written.bytes ? replica.written : mark;
  if (synced.bytes > replica.synced.bytes) replica.synced = synced;
  if (replica.written.bytes > replica.synced.bytes) return;
  replica.firstUnsyncedLsn = replica.memory.firstUnwrittenLsn() ?? NOTHING;
}
