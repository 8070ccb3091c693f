import { type Logger, OperatingError } from '@robustmq/core';
import { CatalogFile } from './catalog-file.ts';
import { readCheckpoint, writeCheckpoint } from './checkpoint.ts';
import { ByteWriter } from './bytes.ts';
import type { Disk } from './disk.ts';
import { FileStorage } from './file-storage.ts';
import { Flusher } from './flusher.ts';
import {
  BootFile,
  newCookie,
  type NodeCookie,
  NodeIdentity,
  readCookie,
  writeCookie,
} from './node-identity.ts';
import type { PartHooks } from './part-hooks.ts';
import { Quarantine } from './quarantine.ts';
import { recover } from './recovery.ts';
import { makeSegmentFolders } from './segment-file.ts';
import { SegmentReader } from './segment-reader.ts';
import { SlabPool } from './slab.ts';
import { Space } from './space.ts';
import type { JournalStorage } from './storage.ts';
import {
  defaultStorageLimits,
  type StorageLimits,
  type StorageOptions,
} from './storage-options.ts';
import { blockSeed, SECTOR_BYTES, WAL_FILE_VERSION, walFileVersion } from './wal/block.ts';
import { WAL_FOLDER, walPath, walSequence } from './wal/wal-files.ts';

/**
 * Opens a data folder, new or as the last process left it, however that ended. Afterwards
 * everything that was ever reported as durable is there, or its replica is damaged.
 *
 * Throws ALREADY_EXISTS when the folder is in use or another node's, UNSUPPORTED for another format
 * version, DAMAGED when its identity or both checkpoints cannot be read.
 */
export async function openStorage(options: StorageOptions): Promise<JournalStorage> {
  const { disk } = options;
  await disk.makeFolder('');
  const unlock = await disk.lock();
  try {
    return await openLocked(options, unlock);
  } catch (error) {
    unlock();
    throw error;
  }
}

async function openLocked(options: StorageOptions, unlock: () => void): Promise<JournalStorage> {
  const { disk, logger } = options;
  const limits: StorageLimits = { ...defaultStorageLimits, ...options.limits };
  const startedMs = options.clock.monotonicMs();
  const cookie = (await readCookie(disk, options.nodeId)) ?? (await initialize(options));
  const boot = await BootFile.start(disk);
  const checkpoint = await readCheckpoint(disk);
  if (checkpoint === undefined) throw withoutCheckpoint();
  await checkLogVersion(disk);

  const debt = { bytes: 0 };
  const slabs = new SlabPool(limits);
  const shared = makeParts(options, limits, slabs, debt);
  const seed = blockSeed(cookie.diskUuid);
  const recovered = await recover({
    disk,
    checkpoint,
    slabs,
    flusher: shared.flusher,
    seed,
    walFileBytes: limits.walFileBytes,
    memoryBytesMax: limits.recentBytesMax + limits.unflushedBytesMax / 8,
    logger,
  });
  await shared.space.start();
  const onFatal = (error: Error): void => shared.hooks.onFatal(error);
  const storage = new FileStorage({
    ...shared,
    options,
    limits,
    slabs,
    debt,
    identity: new NodeIdentity(disk, cookie, boot, onFatal),
    quarantine: await Quarantine.open(options),
    catalog: await CatalogFile.open(disk, logger, onFatal),
    seed,
    checkpoint,
    recovered,
    unlock,
  });
  await storage.start();
  const replicas = recovered.replay.replicas.size;
  const tookMs = Math.round(options.clock.monotonicMs() - startedMs);
  logger.info({ replicas, lastLsn: recovered.lastLsn, tookMs }, 'storage open');
  return storage;
}

/** What recovery and the running storage share. */
function makeParts(
  options: StorageOptions,
  limits: StorageLimits,
  slabs: SlabPool,
  debt: { bytes: number },
): { reader: SegmentReader; flusher: Flusher; space: Space; hooks: PartHooks } {
  const { disk, clock, logger } = options;
  const hooks: PartHooks = {
    onDamage: () => {},
    onIndexed: () => {},
    onShortage: () => {},
    onFatal: options.onFatal,
    segmentBytesWritten: 0,
  };
  const onFatal = (error: Error): void => hooks.onFatal(error);
  const space = new Space({
    disk,
    clock,
    reserveBytes: limits.reserveBytes,
    walFileBytes: limits.walFileBytes,
    unflushedBytes: () => debt.bytes,
    onChange: (readOnly) => reportSpace(logger, readOnly),
    onShortage: () => hooks.onShortage(),
    onFatal,
  });
  const reader = new SegmentReader({
    disk,
    openFilesMax: limits.openFilesMax,
    readsAtOnceMax: limits.readsAtOnceMax,
    onDamage: (replica, damage) => hooks.onDamage(replica, damage),
    onIndexed: (replica) => hooks.onIndexed(replica),
  });
  const flusher = new Flusher({
    disk,
    slabs,
    reader,
    clock,
    syncBytes: limits.syncBytes,
    onWritten: (bytes) => {
      debt.bytes -= bytes;
      hooks.segmentBytesWritten += bytes;
      space.charge(bytes);
    },
    onNoSpace: () => space.markFull(),
    onFatal,
  });
  return { reader, flusher, space, hooks };
}

function reportSpace(logger: Logger, readOnly: boolean): void {
  if (readOnly) logger.warn({}, 'the disk is full: appends are refused, reads go on');
  else logger.info({}, 'the disk has space again: appends go on');
}

/** Makes a new folder; its cookie comes last and says that the rest is there. */
async function initialize({ disk, random, nodeId }: StorageOptions): Promise<NodeCookie> {
  const logs = await disk.list(WAL_FOLDER);
  if (logs.some((name) => walSequence(name) !== undefined)) {
    throw new OperatingError(
      'DAMAGED',
      'The data folder has log files and no node.json: restore that file, or start with an empty folder.',
    );
  }
  await disk.makeFolder(WAL_FOLDER);
  await makeSegmentFolders(disk);
  const first = { number: 0, replayFrom: 1, replayLsn: 1, startLsn: 1, durableLsn: 0 };
  await writeCheckpoint(disk, first, new ByteWriter(), 0);
  await disk.syncFolder('');
  const cookie = newCookie(random, nodeId);
  await writeCookie(disk, cookie);
  return cookie;
}

function withoutCheckpoint(): OperatingError {
  return new OperatingError(
    'DAMAGED',
    'The data folder has a node.json and no checkpoint: restore the folder, or start with an empty one.',
  );
}

/** Another version of the log's format is refused before anything is read or changed. */
async function checkLogVersion(disk: Disk): Promise<void> {
  for (const name of await disk.list(WAL_FOLDER)) {
    const sequence = walSequence(name);
    if (sequence === undefined) continue;
    const file = await disk.open(walPath(sequence), 'read');
    const sector = Buffer.alloc(SECTOR_BYTES);
    try {
      await file.read(sector, 0);
    } finally {
      await file.close();
    }
    const version = walFileVersion(sector);
    if (version === undefined || version === WAL_FILE_VERSION) continue;
    throw new OperatingError(
      'UNSUPPORTED',
      `The log file ${name} has format version ${version}, this program reads ${WAL_FILE_VERSION}: start the version that wrote it.`,
    );
  }
}
