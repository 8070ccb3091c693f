import {
  assert,
  type Epoch,
  type Incarnation,
  type NodeId,
  type Offset,
  OperatingError,
  type SegmentId,
} from '@robustmq/core';
import { Checkpointer } from './checkpointer.ts';
import type { Checkpoint } from './checkpoint.ts';
import { isNoSpace } from './disk.ts';
import { segmentFolder, segmentPath, unknownSegmentFiles } from './segment-file.ts';
import type { Flusher } from './flusher.ts';
import { type BootFile, type NodeCookie, writeCookie } from './node-identity.ts';
import type { PartHooks } from './part-hooks.ts';
import type { Recovered } from './recovery.ts';
import { Replica, type Mark } from './replica.ts';
import { cutReplica, noteFrame } from './replica-change.ts';
import { type ReadRange, ReplicaReader, throwIfDamaged } from './replica-reader.ts';
import type { SegmentReader } from './segment-reader.ts';
import type { SlabPool } from './slab.ts';
import type { Space } from './space.ts';
import type {
  FrameToAppend,
  JournalStorage,
  ReplicaManifest,
  StorageRead,
  StorageStats,
  StoredReplica,
} from './storage.ts';
import type { StorageLimits, StorageOptions } from './storage-options.ts';
import type { Group } from './wal/group.ts';
import { WalFiles } from './wal/wal-files.ts';
import {
  activatedPayload,
  createPayload,
  fencePayload,
  recordType,
  sealPayload,
} from './wal/wal-record.ts';
import { WalWriter } from './wal/wal-writer.ts';

const EMPTY = Buffer.alloc(0);
/** Part of a small disk that the log may take. */
const WAL_SHARE_MAX = 1 / 8;
/** Refused for memory: how long until it is worth another try. */
const MEMORY_RETRY_MS = 100;
/** The disk was too full to empty log files: how long until the next attempt. */
const EMPTY_RETRY_MS = 1_000;

export interface FileStorageParts {
  readonly options: StorageOptions;
  readonly limits: StorageLimits;
  readonly reader: SegmentReader;
  readonly flusher: Flusher;
  readonly space: Space;
  readonly slabs: SlabPool;
  readonly hooks: PartHooks;
  /** Bytes that have yet to go to segment files. */
  readonly debt: { bytes: number };
  readonly cookie: NodeCookie;
  readonly boot: BootFile;
  readonly seed: number;
  readonly checkpoint: Checkpoint;
  readonly recovered: Recovered;
  readonly unlock: () => void;
}

/** {@link JournalStorage} on a disk. See DESIGN.md, "Storage". */
export class FileStorage implements JournalStorage {
  readonly nodeId: NodeId;
  readonly diskUuid: string;
  readonly incarnation: Incarnation;
  readonly stats: StorageStats;
  onDurable: (replicas: readonly StoredReplica[]) => void = () => {};

  readonly #parts: FileStorageParts;
  readonly #replicas: Map<SegmentId, Replica>;
  readonly #files: WalFiles;
  readonly #writer: WalWriter;
  readonly #checkpointer: Checkpointer;
  readonly #reads: ReplicaReader;
  readonly #walFilesMax: number;
  #cookie: NodeCookie;
  /** Changes of cookie and boot record, one after the other. */
  #identityWork: Promise<void> = Promise.resolve();
  /** Removals of files that have not ended. */
  readonly #deletes = new Set<Promise<void>>();
  #emptying: Promise<void> | undefined;
  #emptyAfterMs = 0;
  #relieving: Promise<void> | undefined;
  #fatal: Error | undefined;
  #isClosing = false;

  constructor(parts: FileStorageParts) {
    const { options, limits, recovered, space } = parts;
    this.#parts = parts;
    this.#cookie = parts.cookie;
    this.nodeId = parts.cookie.nodeId;
    this.diskUuid = parts.cookie.diskUuid;
    this.incarnation = parts.boot.record.incarnation;
    this.#replicas = recovered.replay.replicas;
    this.#reads = new ReplicaReader(parts.reader);
    const walBytesMax = Math.min(limits.walBytesMax, space.totalBytes * WAL_SHARE_MAX);
    this.#walFilesMax = Math.max(2, Math.floor(walBytesMax / limits.walFileBytes));
    this.#files = new WalFiles(
      {
        disk: options.disk,
        fileBytes: limits.walFileBytes,
        identity: () => this.#cookie,
        hasSpace: (bytes) => space.hasRoomFor(bytes),
        charge: (bytes) => space.charge(bytes),
        onFatal: (error) => this.#die(error),
      },
      recovered.nextSequence,
    );
    this.#writer = new WalWriter({
      files: this.#files,
      slabs: parts.slabs,
      clock: options.clock,
      seed: parts.seed,
      durableLsn: recovered.lastLsn,
      onGroup: (group) => this.#onGroup(group),
      onNoSpace: () => space.markFull(),
      onFatal: (error) => this.#die(error),
    });
    this.#checkpointer = new Checkpointer(
      {
        disk: options.disk,
        replicas: this.#replicas,
        files: this.#files,
        writer: this.#writer,
        settleDeletes: () => this.#settleDeletes(),
      },
      parts.checkpoint,
    );
    this.stats = makeStats(parts, this.#writer);
    parts.hooks.onFatal = (error) => this.#die(error);
    parts.hooks.onShortage = () => this.#empty();
    parts.hooks.onIndexed = (replica) => this.#settleSealed(replica);
    parts.hooks.onDamage = (replica, reason) => this.#noteDamage(replica, reason);
  }

  /** Opens the log for writing; afterwards the storage can be used. */
  async start(): Promise<void> {
    const { recovered, flusher, debt } = this.#parts;
    this.#files.adopt(recovered.used, recovered.current);
    for (const spare of recovered.spares) this.#files.adoptSpare(spare);
    if (recovered.current === undefined) await this.#files.advance();
    debt.bytes = 0;
    for (const replica of this.#replicas.values()) {
      debt.bytes += replica.unwrittenBytes;
      if (this.#hasEnough(replica)) flusher.request(replica);
    }
    for (const id of recovered.replay.deleted) this.#removeFile(id);
    // Damage that was found now must be known even when the log that showed it is gone.
    if (recovered.replay.hasFindings) await this.#checkpointIfRoom();
    this.#files.prepare();
    this.#reportUnknownFiles().catch((error: unknown) => this.#die(asError(error)));
  }

  /** Files of segments that nobody knows are never removed: their manifests may have been lost. */
  async #reportUnknownFiles(): Promise<void> {
    await this.#settleDeletes();
    const { disk, logger } = this.#parts.options;
    const unknown = await unknownSegmentFiles(disk, (id) => this.#replicas.has(id));
    if (unknown.length === 0) return;
    logger.warn(
      { count: unknown.length, files: unknown.slice(0, 10) },
      'segment files without a manifest: they are left alone, and count as unknown',
    );
  }

  get clusterId(): string {
    return this.#cookie.clusterId;
  }

  get placementEpoch(): number {
    return this.#parts.boot.record.placementEpoch;
  }

  adoptCluster(clusterId: string, placementEpoch: number): Promise<void> {
    const done = this.#identityWork.then(() => this.#adopt(clusterId, placementEpoch));
    this.#identityWork = done.catch(() => undefined);
    return done;
  }

  async #adopt(clusterId: string, placementEpoch: number): Promise<void> {
    const { boot, options } = this.#parts;
    const seen = boot.record;
    if (this.#cookie.clusterId !== '' && this.#cookie.clusterId !== clusterId) {
      throw new OperatingError(
        'WRONG_CLUSTER',
        `this node belongs to cluster ${this.#cookie.clusterId}, not to ${clusterId}; give it another data folder`,
      );
    }
    if (placementEpoch < seen.placementEpoch) {
      throw new OperatingError(
        'FENCED',
        `placement epoch ${placementEpoch} is older than ${seen.placementEpoch}, which this node has seen`,
        { epoch: seen.placementEpoch },
      );
    }
    if (this.#cookie.clusterId === '' && clusterId !== '') {
      const cookie = { ...this.#cookie, clusterId };
      await writeCookie(options.disk, cookie);
      this.#cookie = cookie;
    }
    if (placementEpoch > seen.placementEpoch) await boot.write({ ...seen, placementEpoch });
  }

  replica(segmentId: SegmentId): StoredReplica | undefined {
    return this.#replicas.get(segmentId);
  }

  replicas(): Iterable<StoredReplica> {
    return this.#replicas.values();
  }

  create(manifests: readonly ReplicaManifest[]): Promise<void> {
    this.#checkAlive();
    for (const manifest of manifests) {
      if (this.#replicas.has(manifest.segmentId)) continue;
      const replica = new Replica(manifest);
      this.#replicas.set(manifest.segmentId, replica);
      this.#writer.control(recordType.replicaCreate, replica, createPayload(manifest));
    }
    return this.sync();
  }

  activate(replica: StoredReplica, baseOffset: Offset): void {
    this.#checkAlive();
    const own = this.#own(replica);
    assert(own.activatedBy === undefined, 'a replica is activated at most once');
    assert(own.baseOffset === undefined || own.baseOffset === baseOffset, 'a base never changes');
    own.activatedBy = this.incarnation;
    own.baseOffset = baseOffset;
    const payload = activatedPayload(this.incarnation, baseOffset);
    this.#writer.control(recordType.activated, own, payload);
  }

  append(replica: StoredReplica, frame: FrameToAppend): void {
    const own = this.#own(replica);
    const bytes = frame.header.length + frame.body.length;
    this.#checkAlive();
    throwIfDamaged(own);
    assert(
      own.sealedLength === undefined || own.length + frame.records <= own.sealedLength,
      'nothing is appended behind the sealed length',
    );
    this.#parts.space.check(bytes);
    this.#checkMemory(bytes);
    this.#writer.append(own, frame);
    const newest = own.memory.endOrdinal - 1;
    const { memory } = own;
    assert(memory.bytesOf(newest) === bytes, 'a frame is as long as its header says');
    noteFrame(own, memory.bufferOf(newest), memory.positionOf(newest), frame);
    assert(own.chain === frame.chain, 'the chain stands in the frame');
    this.#parts.debt.bytes += bytes;
  }

  #checkMemory(bytes: number): void {
    const { slabs, limits } = this.#parts;
    const memoryBytesMax = limits.unflushedBytesMax + limits.recentBytesMax;
    if (slabs.bytes + bytes > limits.recentBytesMax + limits.unflushedBytesMax / 2) this.#relieve();
    if (slabs.bytes + bytes <= memoryBytesMax) return;
    throw new OperatingError(
      'RESOURCE_EXHAUSTED',
      `${slabs.bytes} bytes wait for segment files, at most ${memoryBytesMax} may: the disk is slower than the appends`,
      { retryAfterMs: MEMORY_RETRY_MS },
    );
  }

  fence(items: readonly { replica: StoredReplica; epoch: Epoch }[]): Promise<void> {
    this.#checkAlive();
    for (const { replica, epoch } of items) {
      const own = this.#own(replica);
      if (epoch <= own.fencedEpoch) continue;
      own.fencedEpoch = epoch;
      this.#writer.control(recordType.fence, own, fencePayload(epoch, own.length));
    }
    return this.sync();
  }

  async seal(items: readonly { replica: StoredReplica; length: number }[]): Promise<void> {
    this.#checkAlive();
    const cuts: Promise<void>[] = [];
    for (const { replica, length } of items) {
      const own = this.#own(replica);
      if (own.sealedLength === length) continue;
      assert(own.sealedLength === undefined, 'a sealed length never changes');
      if (length < own.length) cuts.push(this.#cut(own, length));
      else this.#logSeal(own, length);
    }
    await Promise.all(cuts);
    await this.sync();
    for (const { replica } of items) this.#settleSealed(this.#own(replica));
  }

  #logSeal(replica: Replica, sealedLength: number): void {
    replica.sealedLength = sealedLength;
    const { length, sizeBytes: bytes, chain } = replica;
    const payload = sealPayload({ sealedLength, length, bytes, chain });
    this.#writer.control(recordType.seal, replica, payload);
  }

  /** The file is written once it is worth it; a small one waits until its log file is emptied. */
  #settleSealed(replica: Replica): void {
    const isLarge = replica.written.bytes > 0 || this.#hasEnough(replica);
    if (replica.isComplete && !replica.isDeleted && !replica.hasFooter && isLarge) {
      this.#parts.flusher.request(replica);
    }
  }

  /** Cuts a replica to `length` records, which end a batch, and seals it there. */
  async #cut(replica: Replica, length: number): Promise<void> {
    const { flusher, debt, options } = this.#parts;
    // No group in flight may still raise what the cut lowers.
    await this.sync();
    const mark = await this.#markAt(replica, length);
    await flusher.onFile(replica, async () => {
      const before = replica.unwrittenBytes;
      replica.isCutPending = replica.written.bytes > mark.bytes;
      cutReplica(replica, mark);
      debt.bytes += replica.unwrittenBytes - before;
      this.#logSeal(replica, length);
    });
    await this.sync();
    if (!replica.isCutPending) return;
    // Only now: until the seal is durable, the log would ask for the bytes.
    await flusher.onFile(replica, async () => {
      const file = await options.disk.open(segmentPath(replica.manifest.segmentId), 'write');
      try {
        await file.truncate(replica.written.bytes);
      } finally {
        await file.close();
      }
      replica.isCutPending = false;
    });
  }

  /** Where the first `length` records end. */
  async #markAt(replica: Replica, length: number): Promise<Mark> {
    let mark: Mark = { records: 0, bytes: 0, chain: 0 };
    await this.#reads.walk(replica, (frame, index, records) => {
      if (index + records > length || (records > 0 && index >= length)) return false;
      mark = {
        records: index + records,
        bytes: mark.bytes + frame.length,
        chain: frame.readUInt32LE(16),
      };
      return true;
    });
    if (mark.records === length) return mark;
    throw new OperatingError(
      'INVALID_ARGUMENT',
      `segment ${replica.manifest.segmentId} cannot end at record ${length}: no batch ends there`,
    );
  }

  async delete(segmentIds: readonly SegmentId[]): Promise<void> {
    this.#checkAlive();
    const gone: Replica[] = [];
    for (const id of segmentIds) {
      const replica = this.#replicas.get(id);
      if (replica === undefined) continue;
      this.#replicas.delete(id);
      this.#parts.debt.bytes -= replica.unwrittenBytes;
      replica.isDeleted = true;
      replica.memory.cut(0);
      replica.firstUnsyncedLsn = Number.POSITIVE_INFINITY;
      this.#writer.control(recordType.delete, replica, EMPTY);
      gone.push(replica);
    }
    const durable = this.sync();
    for (const replica of gone) {
      this.#removeFile(replica.manifest.segmentId, async () => {
        await durable;
        await replica.fileWork;
        await this.#parts.reader.drop(replica);
      });
    }
    await durable;
  }

  /** Removes a segment file in the background; the next checkpoint waits for it. */
  #removeFile(id: SegmentId, before?: () => Promise<void>): void {
    const { disk } = this.#parts.options;
    const work = async (): Promise<void> => {
      await before?.();
      if (!(await disk.exists(segmentPath(id)))) return;
      await disk.unlink(segmentPath(id));
      await disk.syncFolder(segmentFolder(id));
    };
    const done: Promise<void> = work()
      .catch((error: unknown) => this.#die(asError(error)))
      .finally(() => this.#deletes.delete(done));
    this.#deletes.add(done);
  }

  async #settleDeletes(): Promise<void> {
    while (this.#deletes.size > 0) await Promise.all(this.#deletes);
  }

  read(replica: StoredReplica, range: ReadRange): StorageRead | Promise<StorageRead> {
    return this.#reads.read(this.#own(replica), range);
  }

  async indexByTime(replica: StoredReplica, timestampMs: number): Promise<number | undefined> {
    return this.#reads.indexByTime(this.#own(replica), timestampMs);
  }

  async scan(
    replica: StoredReplica,
    options: { fromLastSnapshot: boolean },
    visit: (frame: Buffer) => void,
  ): Promise<void> {
    await this.#reads.scan(this.#own(replica), options.fromLastSnapshot, visit);
  }

  async sync(): Promise<void> {
    this.#checkAlive();
    await new Promise<void>((resolve) => this.#writer.whenDurable(resolve));
  }

  #onGroup(group: Group): void {
    const grown: Replica[] = [];
    for (const [at, replica] of group.replicas.entries()) {
      if (replica.isDeleted) continue;
      const bytes = Math.min(group.sizes[at] ?? 0, replica.sizeBytes);
      const length = Math.min(group.lengths[at] ?? 0, replica.length);
      if (bytes > replica.durableBytes) replica.durableBytes = bytes;
      if (length > replica.durableLength) {
        replica.durableLength = length;
        grown.push(replica);
      }
      if (this.#hasEnough(replica)) this.#parts.flusher.request(replica);
    }
    if (this.#files.used.length > this.#walFilesMax) this.#empty();
    if (grown.length > 0) this.onDurable(grown);
  }

  #hasEnough(replica: Replica): boolean {
    return replica.durableBytes - replica.written.bytes >= this.#parts.limits.flushBytes;
  }

  /**
   * Empties the older half of the log's files into segment files, so that they can be used again; all
   * but the newest when space is short, so that they can be removed.
   */
  #empty(): void {
    const nowMs = this.#parts.options.clock.monotonicMs();
    if (this.#emptying !== undefined || this.#isClosing || nowMs < this.#emptyAfterMs) return;
    this.#emptying = this.#emptyNow()
      .catch((error: unknown) => {
        if (!this.#isFull(error)) this.#die(asError(error));
        this.#emptyAfterMs = nowMs + EMPTY_RETRY_MS;
      })
      .finally(() => {
        this.#emptying = undefined;
      });
  }

  async #emptyNow(): Promise<void> {
    const { used } = this.#files;
    const { space } = this.#parts;
    const older = used.slice(0, space.isReadOnly ? -1 : Math.ceil(used.length / 2));
    if (older.length === 0) return;
    const lsn = Math.max(...older.map((file) => file.lastLsn));
    const behind = [...this.#replicas.values()].filter(
      (replica) => replica.firstUnsyncedLsn <= lsn,
    );
    await this.#parts.flusher.drain(behind, lsn);
    do {
      if (this.#isClosing) return;
      await this.#checkpointer.write();
      await this.#files.recycle(this.#checkpointer.neededFrom);
      // The older of the two checkpoints may hold on to files that the newer one does not need.
    } while (
      this.#checkpointer.canAdvance &&
      (space.isReadOnly || this.#files.used.length > this.#walFilesMax)
    );
  }

  /** Without one, on a full disk, the log says the same again at the next start. */
  async #checkpointIfRoom(): Promise<void> {
    try {
      await this.#checkpointer.write();
    } catch (error) {
      if (!this.#isFull(error)) throw error;
    }
  }

  #isFull(error: unknown): boolean {
    if (!isNoSpace(error)) return false;
    this.#parts.space.markFull();
    return true;
  }

  /** Writes the replicas of the oldest memory to their files, until there is less of it. */
  #relieve(): void {
    if (this.#relieving !== undefined || this.#isClosing) return;
    this.#relieving = this.#relieveNow()
      .catch((error: unknown) => this.#die(asError(error)))
      .finally(() => {
        this.#relieving = undefined;
      });
  }

  async #relieveNow(): Promise<void> {
    const { slabs, limits, flusher } = this.#parts;
    const enough = limits.recentBytesMax + limits.unflushedBytesMax / 4;
    while (slabs.bytes > enough && !this.#isClosing) {
      const oldest = slabs.oldestUnwritten();
      if (oldest === undefined) return;
      // Frames in it may not be durable yet.
      await this.sync();
      await flusher.drain(new Set(oldest.replicas), undefined);
    }
  }

  #noteDamage(replica: Replica, reason: string): void {
    if (replica.damaged) return;
    replica.damaged = true;
    const segment = replica.manifest.segmentId;
    this.#parts.options.logger.error(
      { segment, reason },
      'replica damaged: another one has to serve',
    );
    if (!replica.isDeleted) this.#writer.control(recordType.damaged, replica, EMPTY);
  }

  #own(replica: StoredReplica): Replica {
    assert(replica instanceof Replica, 'replicas come from the storage');
    if (!replica.isDeleted) return replica;
    throw new OperatingError(
      'SEGMENT_UNKNOWN',
      `segment ${replica.manifest.segmentId} was deleted on this node; resolve it again`,
    );
  }

  #checkAlive(): void {
    if (this.#fatal === undefined && !this.#isClosing) return;
    throw new OperatingError('UNAVAILABLE', 'the storage of this node has ended');
  }

  #die(error: Error): void {
    if (this.#fatal !== undefined) return;
    this.#fatal = error;
    this.#writer.stop();
    this.#parts.space.stop();
    this.#parts.options.onFatal(error);
  }

  /** Syncs the log and says so in a checkpoint, so that the next start takes any damage for damage. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosing) return;
    const { space, flusher, reader, unlock } = this.#parts;
    if (this.#fatal === undefined) await this.sync();
    this.#isClosing = true;
    space.stop();
    await flusher.stop();
    if (this.#fatal === undefined) {
      await this.#emptying;
      await this.#relieving;
      await this.#checkpointIfRoom();
    }
    this.#writer.stop();
    await this.#files.close();
    await reader.close();
    unlock();
  }
}

function makeStats(parts: FileStorageParts, writer: WalWriter): StorageStats {
  const { debt, space, hooks } = parts;
  return {
    get unflushedBytes() {
      return debt.bytes;
    },
    get freeBytes() {
      return space.freeBytes;
    },
    get readOnly() {
      return space.isReadOnly;
    },
    get syncAgeMs() {
      return writer.syncAgeMs;
    },
    get syncs() {
      return writer.syncs;
    },
    get syncMsSum() {
      return writer.syncMsSum;
    },
    get walBytesWritten() {
      return writer.bytesWritten;
    },
    get segmentBytesWritten() {
      return hooks.segmentBytesWritten;
    },
  };
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
