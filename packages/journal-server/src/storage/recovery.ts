import type { Logger } from '@robustmq/core';
import type { StoredCheckpoint } from './checkpoint.ts';
import { type Disk, type DiskFile, syncFile, writeAll } from './disk.ts';
import type { Flusher } from './flusher.ts';
import { Gate } from './gate.ts';
import type { Replica } from './replica.ts';
import { Replay } from './replay.ts';
import type { SlabPool } from './slab.ts';
import { FIRST_BLOCK_POSITION } from './wal/block.ts';
import type { OpenWalFile, WalFile } from './wal/wal-files.ts';
import { WAL_FOLDER, walPath, walSequence } from './wal/wal-files.ts';
import { type ScannedFile, scanWal } from './wal/wal-scan.ts';

const STATS_AT_ONCE_MAX = 8;

export interface RecoveryOptions {
  readonly disk: Disk;
  readonly checkpoint: StoredCheckpoint;
  readonly slabs: SlabPool;
  readonly flusher: Flusher;
  readonly seed: number;
  readonly walFileBytes: number;
  /** Memory above this is written to segment files as the replay goes on. */
  readonly memoryBytesMax: number;
  readonly logger: Logger;
}

export interface Recovered {
  readonly replay: Replay;
  readonly lastLsn: number;
  readonly nextSequence: number;
  readonly used: WalFile[];
  /** Where the log goes on; undefined when it has to begin a new file. */
  readonly current: OpenWalFile | undefined;
  readonly spares: OpenWalFile[];
}

/** Brings the replicas back from checkpoint and log (docs/journal.md, section 3.5). */
export async function recover(options: RecoveryOptions): Promise<Recovered> {
  const { disk, checkpoint, seed, slabs, logger } = options;
  const sequences = await walSequences(disk);
  const replay = new Replay(checkpoint, slabs, logger);
  const scan = await scanWal(
    disk,
    {
      sequences: sequences.filter((sequence) => sequence >= checkpoint.replayFrom),
      firstLsn: checkpoint.replayLsn,
      durableLsn: checkpoint.durableLsn,
      seed,
    },
    {
      block: (found) => replay.block(found),
      lost: (groups) => replay.lost(groups),
      relax: () => relax(options),
    },
  );
  replay.finish();
  if (scan.cut !== undefined) {
    logger.warn(scan.cut, 'the last block of the log was torn by the crash: it is cut');
  }
  await checkSegmentSizes(disk, replay);
  const old = sequences.filter((sequence) => sequence < checkpoint.replayFrom);
  const used: WalFile[] = old.map((sequence) => ({ sequence, firstLsn: undefined, lastLsn: 0 }));
  return {
    replay,
    lastLsn: scan.lastLsn,
    nextSequence: Math.max(checkpoint.replayFrom - 1, ...sequences) + 1,
    ...(await sortFiles(options, scan.files, scan.isDamaged, used)),
  };
}

async function walSequences(disk: Disk): Promise<number[]> {
  const sequences: number[] = [];
  for (const name of await disk.list(WAL_FOLDER)) {
    const sequence = walSequence(name);
    if (sequence !== undefined) sequences.push(sequence);
  }
  return sequences.sort((one, other) => one - other);
}

async function relax({ slabs, flusher, memoryBytesMax }: RecoveryOptions): Promise<void> {
  while (slabs.bytes > memoryBytesMax) {
    const oldest = slabs.oldestUnwritten();
    if (oldest === undefined) return;
    await flusher.drain(new Set(oldest.replicas), undefined);
  }
}

/** A file that is shorter than what was synced in it has lost data. */
async function checkSegmentSizes(disk: Disk, replay: Replay): Promise<void> {
  const gate = new Gate(STATS_AT_ONCE_MAX);
  const checks: Promise<void>[] = [];
  for (const replica of replay.replicas.values()) {
    if (replica.synced.bytes === 0 || replica.isSealed) continue;
    checks.push(gate.through(() => checkSegmentSize(disk, replay, replica)));
  }
  await Promise.all(checks);
}

async function checkSegmentSize(disk: Disk, replay: Replay, replica: Replica): Promise<void> {
  const { path } = replica;
  let size = 0;
  if (await disk.exists(path)) {
    const file = await disk.open(path, 'read');
    try {
      size = await file.size();
    } finally {
      await file.close();
    }
  }
  if (size < replica.synced.bytes) {
    replay.damage(replica, `its file has ${size} of ${replica.synced.bytes} bytes`);
  }
}

type SortedFiles = Pick<Recovered, 'used' | 'current' | 'spares'>;

/**
 * The log goes on behind its last block, or in a new file when it is damaged, so that nothing is
 * overwritten. Files without a block behind that are spares.
 */
async function sortFiles(
  options: RecoveryOptions,
  files: readonly ScannedFile[],
  isDamaged: boolean,
  used: WalFile[],
): Promise<SortedFiles> {
  const { disk, walFileBytes } = options;
  const last = files.findLastIndex((file) => file.firstLsn !== undefined);
  const spares: OpenWalFile[] = [];
  let current: OpenWalFile | undefined;
  for (const [at, file] of files.entries()) {
    if (at < last) {
      used.push({ sequence: file.sequence, firstLsn: file.firstLsn, lastLsn: file.lastLsn });
      continue;
    }
    if (at > last && file.size < walFileBytes) {
      await disk.unlink(walPath(file.sequence));
      continue;
    }
    const handle = await disk.open(walPath(file.sequence), 'write');
    const opened = openFile(file, handle, walFileBytes);
    if (at > last) {
      spares.push(opened);
      continue;
    }
    await writeLastBlockAgain(handle, file);
    if (isDamaged) {
      await handle.close();
      used.push({ sequence: file.sequence, firstLsn: file.firstLsn, lastLsn: file.lastLsn });
    } else current = opened;
  }
  // A name that is read may not be durable either.
  await disk.syncFolder(WAL_FOLDER);
  return { used, current, spares };
}

/**
 * The last block may be in the kernel's memory only: its process was killed before the sync, or the sync
 * failed, and then the kernel takes the pages for clean and a second sync does nothing. Writing the same
 * bytes again harms nothing, whatever of it is lost. All earlier blocks were durable before this one began.
 */
async function writeLastBlockAgain(
  handle: DiskFile,
  { lastStart, end }: ScannedFile,
): Promise<void> {
  const block = Buffer.allocUnsafeSlow(end - lastStart);
  await handle.read(block, lastStart);
  await writeAll(handle, [block], lastStart);
  await syncFile(handle);
}

function openFile(file: ScannedFile, handle: DiskFile, capacity: number): OpenWalFile {
  return {
    sequence: file.sequence,
    file: handle,
    capacity,
    position: Math.max(file.end, FIRST_BLOCK_POSITION),
    firstLsn: file.firstLsn,
    lastLsn: file.lastLsn,
  };
}
