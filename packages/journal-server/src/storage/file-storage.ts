import {
  assert,
  type Epoch,
  type Incarnation,
  type NodeId,
  type Offset,
  OperatingError,
  type SegmentId,
  segmentId as segmentIdOf,
} from '@robustmq/core';
import type { CatalogFile } from './catalog-file.ts';
import { Checkpointer } from './checkpointer.ts';
import type { Checkpoint } from './checkpoint.ts';
import { Damages } from './damages.ts';
import type { Flusher } from './flusher.ts';
import { SEGMENT_ID_BYTES } from './manifest.ts';
import type { NodeIdentity } from './node-identity.ts';
import type { PartHooks } from './part-hooks.ts';
import type { Recovered } from './recovery.ts';
import type { Quarantine } from './quarantine.ts';
import { Relief } from './relief.ts';
import { Removals } from './removals.ts';
import { Replica } from './replica.ts';
import { noteFrame } from './replica-change.ts';
import { ReplicaTable } from './replica-table.ts';
import { type ReadRange, ReplicaReader, throwIfDamaged } from './replica-reader.ts';
import { Sealer } from './sealer.ts';
import { Scrubber } from './scrub/scrubber.ts';
import type { ScrubProgress } from './scrub/scrub-progress.ts';
import { segmentPath } from './segment-file.ts';
import type { Damage, SegmentReader } from './segment-reader.ts';
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
import { makeStats } from './storage-stats.ts';
import type { Group } from './wal/group.ts';
import { WalFiles } from './wal/wal-files.ts';
import {
  activatedPayload,
  createPayload,
  fencePayload,
  rebuildPayload,
  recordType,
} from './wal/wal-record.ts';
import { WalWriter } from './wal/wal-writer.ts';

const EMPTY = Buffer.alloc(0);
/** Refused for memory: how long until it is worth another try. */
const MEMORY_RETRY_MS = 100;

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
  readonly identity: NodeIdentity;
  readonly quarantine: Quarantine;
  readonly catalog: CatalogFile;
  readonly seed: number;
  readonly checkpoint: Checkpoint;
  readonly recovered: Recovered;
  readonly unlock: () => void;
}

/** {@link JournalStorage} on a disk. See DESIGN.md, "Storage". */
export class FileStorage implements JournalStorage {
  readonly nodeId: NodeId;
  readonly diskUuid: string;
  readonly stats: StorageStats;
  readonly damages = new Damages();
  readonly catalog: CatalogFile;
  onDurable: (replicas: readonly StoredReplica[]) => void = () => {};
  onDamaged: (replica: StoredReplica) => void = () => {};

  readonly #parts: FileStorageParts;
  readonly #table: ReplicaTable;
  readonly #files: WalFiles;
  readonly #writer: WalWriter;
  readonly #checkpointer: Checkpointer;
  readonly #reads: ReplicaReader;
  readonly #removals: Removals;
  readonly #sealer: Sealer;
  readonly #relief: Relief;
  readonly #scrubber: Scrubber;
  #fatal: Error | undefined;
  #isClosing = false;

  constructor(parts: FileStorageParts) {
    const { options, limits, recovered, space } = parts;
    this.#parts = parts;
    this.nodeId = parts.identity.cookie.nodeId;
    this.diskUuid = parts.identity.cookie.diskUuid;
    this.catalog = parts.catalog;
    const { replicas, replaced } = recovered.replay;
    this.#table = new ReplicaTable(replicas);
    for (const { fileId, manifest } of this.#table.sort()) replaced.set(fileId, manifest.segmentId);
    this.#reads = new ReplicaReader(parts.reader);
    this.#files = new WalFiles(
      {
        disk: options.disk,
        fileBytes: limits.walFileBytes,
        identity: () => parts.identity.cookie,
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
        replicas,
        files: this.#files,
        writer: this.#writer,
        settleDeletes: () => this.#removals.settle(),
      },
      parts.checkpoint,
    );
    const onFatal = (error: Error): void => this.#die(error);
    this.#removals = new Removals({ ...parts, ...options, onFatal });
    this.#sealer = new Sealer({
      ...parts,
      disk: options.disk,
      writer: this.#writer,
      reads: this.#reads,
      onSwapAccepted: (copy, damaged) => this.#table.swapAccepted(copy, damaged),
      onSwapped: (copy) => this.#swap(copy),
    });
    this.#relief = new Relief({
      ...parts,
      clock: options.clock,
      files: this.#files,
      writer: this.#writer,
      checkpointer: this.#checkpointer,
      replicas,
      onFatal,
    });
    this.stats = makeStats(parts, this.#writer);
    parts.hooks.onFatal = (error) => this.#die(error);
    parts.hooks.onShortage = () => this.#relief.emptyLog();
    parts.hooks.onIndexed = (replica) => this.#sealer.settle(replica);
    parts.hooks.onDamage = (replica, damage) => this.#noteDamage(replica, damage);
    this.#scrubber = new Scrubber({
      ...options,
      limits,
      reader: parts.reader,
      replicas,
      syncAgeMs: () => this.stats.syncAgeMs,
      onDamage: (replica, damage) => this.#noteDamage(replica, damage),
      onFatal,
    });
  }

  /** Opens the log for writing; afterwards the storage can be used. */
  async start(): Promise<void> {
    const { recovered, flusher, debt } = this.#parts;
    this.#files.adopt(recovered.used, recovered.current);
    for (const spare of recovered.spares) this.#files.adoptSpare(spare);
    if (recovered.current === undefined) await this.#files.advance();
    debt.bytes = 0;
    for (const replica of this.#table.all()) {
      debt.bytes += replica.unwrittenBytes;
      if (this.#hasEnough(replica)) flusher.request(replica);
    }
    const { deleted, replaced } = recovered.replay;
    for (const id of deleted) this.#removals.remove(id);
    for (const [id, segmentId] of replaced) this.#removals.keepAside(id, segmentId);
    // Damage that was found now must be known even when the log that showed it is gone.
    if (recovered.replay.hasFindings) await this.#relief.checkpoint();
    this.#files.prepare();
    this.#removals.keepUnknownAside((id) => this.#table.hasFile(id));
    this.#scrubber.start();
  }

  get scrub(): ScrubProgress {
    return this.#scrubber.progress;
  }

  beginScrub(): void {
    this.#checkAlive();
    this.#scrubber.order();
  }

  get clusterId(): string {
    return this.#parts.identity.cookie.clusterId;
  }

  get incarnation(): Incarnation {
    return this.#parts.identity.incarnation;
  }

  raiseIncarnation(wanted: Incarnation): Promise<void> {
    for (const { activatedBy } of this.#table.all()) {
      assert(activatedBy !== this.incarnation, 'who has led keeps its incarnation');
    }
    return this.#parts.identity.raiseIncarnation(wanted);
  }

  get placementEpoch(): number {
    return this.#parts.identity.placementEpoch;
  }

  adoptCluster(clusterId: string, placementEpoch: number): Promise<void> {
    return this.#parts.identity.adopt(clusterId, placementEpoch);
  }

  replica(segmentId: SegmentId): StoredReplica | undefined {
    return this.#table.get(segmentId);
  }

  replicas(): Iterable<StoredReplica> {
    return this.#table.bySegment();
  }

  copyOf(segmentId: SegmentId): StoredReplica | undefined {
    return this.#table.copyOf(segmentId);
  }

  get quarantined(): { readonly files: number; readonly bytes: number } {
    const { files, bytes } = this.#parts.quarantine;
    return { files, bytes };
  }

  async create(manifests: readonly ReplicaManifest[]): Promise<void> {
    this.#checkAlive();
    for (const manifest of manifests) {
      if (this.#table.get(manifest.segmentId) !== undefined) continue;
      const replica = new Replica(manifest);
      this.#table.add(replica);
      this.#writer.control(recordType.replicaCreate, replica, createPayload(manifest));
    }
    await this.sync();
  }

  async createCopy(manifest: ReplicaManifest, epoch: Epoch): Promise<StoredReplica> {
    this.#checkAlive();
    const { segmentId } = manifest;
    const damaged = this.#table.get(segmentId);
    // One of the same segment may just have been deleted: its file must not take the new one with it.
    await this.#removals.settle();
    const fileId = await this.#newFileId();
    this.#checkAlive();
    if (damaged?.isDeleted === true) throw deletedHere(damaged);
    assert(damaged?.damaged ?? true, 'a copy is made where there is no replica, or a damaged one');
    assert(this.#table.rebuildOf(segmentId) === undefined, 'one copy is made at a time');
    const replica = new Replica(manifest, damaged === undefined ? segmentId : fileId);
    replica.isCopying = true;
    replica.fencedEpoch = epoch;
    replica.replaces = damaged;
    this.#table.add(replica);
    if (damaged === undefined) {
      this.#writer.control(recordType.copyBegin, replica, createPayload(manifest));
    } else this.#writer.control(recordType.rebuildBegin, replica, rebuildPayload(manifest));
    this.#writer.control(recordType.fence, replica, fencePayload(epoch, 0));
    await this.sync();
    return replica;
  }

  /** A name that no replica and no file has. */
  async #newFileId(): Promise<SegmentId> {
    const { random, disk } = this.#parts.options;
    for (;;) {
      const fileId = segmentIdOf(random.bytes(SEGMENT_ID_BYTES).toString('hex'));
      if (this.#table.isNamed(fileId)) continue;
      if (!(await disk.exists(segmentPath(fileId)))) return fileId;
    }
  }

  async abandonCopy(copy: StoredReplica): Promise<void> {
    this.#checkAlive();
    const own = this.#own(copy);
    assert(own.isCopying, 'only a copy is abandoned');
    await this.#discard([own]);
  }

  /** The copy has its place durably: the damaged one goes into quarantine. */
  #swap(copy: Replica): void {
    const damaged = this.#table.swap(copy);
    this.#letGo(damaged);
    this.#removals.keepAside(damaged.fileId, copy.manifest.segmentId, async () => {
      await damaged.fileWork;
      await this.#parts.reader.drop(damaged);
    });
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
    const much = limits.recentBytesMax + limits.unflushedBytesMax / 2;
    if (slabs.bytes + bytes > much) this.#relief.makeMemory();
    if (slabs.bytes + bytes <= memoryBytesMax) return;
    throw new OperatingError(
      'RESOURCE_EXHAUSTED',
      `${slabs.bytes} bytes wait for segment files, at most ${memoryBytesMax} may: the disk is slower than the appends`,
      { retryAfterMs: MEMORY_RETRY_MS },
    );
  }

  async fence(items: readonly { replica: StoredReplica; epoch: Epoch }[]): Promise<void> {
    this.#checkAlive();
    const wanted = items.map(({ replica, epoch }) => ({ own: this.#own(replica), epoch }));
    for (const { own, epoch } of wanted) {
      if (epoch <= own.fencedEpoch) continue;
      own.fencedEpoch = epoch;
      // The log knows the damaged one no more once the swap is in it.
      const named = own.replacedBy ?? own;
      if (epoch > named.fencedEpoch) named.fencedEpoch = epoch;
      this.#writer.control(recordType.fence, named, fencePayload(epoch, named.length));
    }
    await this.sync();
  }

  async seal(items: readonly { replica: StoredReplica; length: number }[]): Promise<void> {
    this.#checkAlive();
    await this.#sealer.seal(
      items.map(({ replica, length }) => ({ replica: this.#own(replica), length })),
    );
  }

  async delete(segmentIds: readonly SegmentId[]): Promise<void> {
    this.#checkAlive();
    const named = segmentIds.flatMap((id) => [
      ...maybe(this.#table.get(id)),
      ...maybe(this.#table.rebuildOf(id)),
    ]);
    await this.#discard(named);
  }

  async #discard(replicas: readonly Replica[]): Promise<void> {
    for (const replica of replicas) {
      this.#table.remove(replica);
      this.#letGo(replica);
      this.#writer.control(recordType.delete, replica, EMPTY);
    }
    const durable = this.sync();
    for (const replica of replicas) {
      this.#removals.remove(replica.fileId, async () => {
        await durable;
        await replica.fileWork;
        await this.#parts.reader.drop(replica);
      });
    }
    await durable;
  }

  /** It is no replica any more: nothing of it is kept in memory, nor asked of the log. */
  #letGo(replica: Replica): void {
    this.#parts.debt.bytes -= replica.unwrittenBytes;
    replica.isDeleted = true;
    replica.memory.cut(0);
    replica.firstUnsyncedLsn = Number.POSITIVE_INFINITY;
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
    this.#relief.afterGroup();
    if (grown.length > 0) this.onDurable(grown);
  }

  #hasEnough(replica: Replica): boolean {
    return replica.durableBytes - replica.written.bytes >= this.#parts.limits.flushBytes;
  }

  #noteDamage(replica: Replica, damage: Damage): void {
    if (replica.damaged) return;
    replica.damaged = true;
    const segment = replica.manifest.segmentId;
    const file = replica.path;
    this.#parts.options.logger.error(
      { segment, file, ...damage },
      'replica damaged: another one has to serve',
    );
    this.damages.note({ segmentId: segment, file, ...damage });
    if (replica.isDeleted) return;
    this.#writer.control(recordType.damaged, replica, EMPTY);
    this.onDamaged(replica);
  }

  #own(replica: StoredReplica): Replica {
    assert(replica instanceof Replica, 'replicas come from the storage');
    if (!replica.isDeleted) return replica;
    throw deletedHere(replica);
  }

  #checkAlive(): void {
    if (this.#fatal === undefined && !this.#isClosing) return;
    throw new OperatingError('UNAVAILABLE', 'the storage of this node has ended');
  }

  #die(error: Error): void {
    if (this.#fatal !== undefined) return;
    this.#fatal = error;
    this.#writer.stop();
    this.#scrubber.halt();
    this.#parts.space.stop();
    this.#parts.options.onFatal(error);
  }

  /** Syncs the log and says so in a checkpoint, so that the next start takes any damage for damage. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosing) return;
    const { space, flusher, reader, unlock } = this.#parts;
    await this.#scrubber.stop();
    if (this.#fatal === undefined) await this.sync();
    this.#isClosing = true;
    space.stop();
    if (this.#fatal === undefined) await this.#removals.stop();
    await flusher.stop();
    if (this.#fatal === undefined) {
      await this.#relief.stop();
      await this.#relief.checkpoint();
    }
    this.#writer.stop();
    await this.#files.close();
    await reader.close();
    unlock();
  }
}

function deletedHere({ manifest: { segmentId } }: StoredReplica): OperatingError {
  const message = `segment ${segmentId} was deleted on this node; resolve it again`;
  return new OperatingError('SEGMENT_UNKNOWN', message);
}

function maybe(replica: Replica | undefined): Replica[] {
  return replica === undefined ? [] : [replica];
}
