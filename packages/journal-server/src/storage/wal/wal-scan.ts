import { crc32c } from '@robustmq/record-batch';
import type { Disk, DiskFile } from '../disk.ts';
import {
  BLOCK_HEADER_BYTES,
  blockBytes,
  type BlockHeader,
  FIRST_BLOCK_POSITION,
  looksBegun,
  readBlockHeader,
  SECTOR_BYTES,
} from './block.ts';
import { walPath } from './wal-files.ts';

const WINDOW_BYTES = 4 * 1024 * 1024;

/** A block whose checksums hold: its records are `source[start, end)`, valid during the visit only. */
export interface FoundBlock {
  readonly header: BlockHeader;
  readonly source: Buffer;
  readonly start: number;
  readonly end: number;
}

/** Groups `[fromLsn, toLsn)` were durable and cannot be read any more. */
export interface LostGroups {
  readonly fromLsn: number;
  readonly toLsn: number;
}

export interface WalVisitor {
  block(found: FoundBlock): void;
  /** Called before the first block behind the loss, or at the end. */
  lost(groups: LostGroups): void;
  /** After each block, so that memory can be made. */
  relax(): Promise<void>;
}

/** A file as the scan found it. */
export interface ScannedFile {
  readonly sequence: number;
  readonly size: number;
  firstLsn: number | undefined;
  lastLsn: number;
  /** Where its last valid block begins, and ends; the same while it has none. */
  lastStart: number;
  end: number;
}

export interface ScanResult {
  readonly files: ScannedFile[];
  /** Lsn of the last group there was, readable or not. */
  readonly lastLsn: number;
  readonly isDamaged: boolean;
  /** A block that was begun and never acknowledged, or the exception of amendment 8: it is cut. */
  readonly cut: { readonly path: string; readonly from: number; readonly to: number } | undefined;
}

export interface ScanStart {
  /** Files at and above the checkpoint's, in order. */
  readonly sequences: readonly number[];
  readonly firstLsn: number;
  /** Known from the checkpoint. */
  readonly durableLsn: number;
  readonly seed: number;
}

/**
 * Reads the log from a checkpoint on (docs/journal.md, section 3.5). Blocks are found by their
 * checksummed headers at sector boundaries and taken in the order of their lsns. An unreadable block
 * is the torn end of the log only if nothing proves that it was durable: no later block, no header
 * that names it as durable, no checkpoint. Otherwise it is lost, and the scan goes on behind it.
 */
export async function scanWal(
  disk: Disk,
  start: ScanStart,
  visitor: WalVisitor,
): Promise<ScanResult> {
  const scan = new WalScan(disk, start, visitor);
  for (const sequence of start.sequences) await scan.file(sequence);
  return scan.finish();
}

class WalScan {
  readonly #disk: Disk;
  readonly #visitor: WalVisitor;
  readonly #seed: number;
  readonly #files: ScannedFile[] = [];
  #expectedLsn: number;
  /** The newest group that anything proves to have been durable. */
  #durableLsn: number;
  #isDamaged = false;
  #cut: ScanResult['cut'];

  constructor(disk: Disk, start: ScanStart, visitor: WalVisitor) {
    this.#disk = disk;
    this.#visitor = visitor;
    this.#seed = start.seed;
    this.#expectedLsn = start.firstLsn;
    this.#durableLsn = start.durableLsn;
  }

  async file(sequence: number): Promise<void> {
    const handle = await this.#disk.open(walPath(sequence), 'read');
    try {
      const size = await handle.size();
      const scanned: ScannedFile = {
        sequence,
        size,
        firstLsn: undefined,
        lastLsn: 0,
        lastStart: FIRST_BLOCK_POSITION,
        end: FIRST_BLOCK_POSITION,
      };
      this.#files.push(scanned);
      await this.#blocks(new Window(handle, size), scanned);
    } finally {
      await handle.close();
    }
  }

  async #blocks(window: Window, file: ScannedFile): Promise<void> {
    let position = FIRST_BLOCK_POSITION;
    while (position < file.size) {
      const at = await window.at(position, BLOCK_HEADER_BYTES);
      const header = readBlockHeader(window.buffer, at, file.sequence, this.#seed);
      if (header === undefined && position === file.end) this.#noteBegun(window.buffer, at, file);
      const bytes = header === undefined ? 0 : await this.#block(window, position, header, file);
      position += bytes === 0 ? SECTOR_BYTES : bytes;
    }
  }

  /** The header of the next block may be torn, too: then only its first sector is known to be cut. */
  #noteBegun(source: Buffer, at: number, { sequence, end }: ScannedFile): void {
    if (!looksBegun(source, at, { lsn: this.#expectedLsn, fileSequence: sequence })) return;
    this.#cut = { path: walPath(sequence), from: end, to: end + SECTOR_BYTES };
  }

  /** Takes the block if it is whole and new, and returns its bytes; 0 when it is not. */
  async #block(
    window: Window,
    position: number,
    header: BlockHeader,
    file: ScannedFile,
  ): Promise<number> {
    this.#durableLsn = Math.max(this.#durableLsn, header.previousDurableLsn);
    // The same group may stand in two files, when the first had no space for all of it.
    if (header.lsn < this.#expectedLsn) return 0;
    const whole = BLOCK_HEADER_BYTES + header.bodyBytes;
    const at = await window.at(position, whole);
    const start = at + BLOCK_HEADER_BYTES;
    const end = start + header.bodyBytes;
    if (end > window.buffer.length || crc32c(window.buffer, start, end) !== header.bodyCrc) {
      this.#cut = {
        path: walPath(file.sequence),
        from: position,
        to: position + blockBytes(header.bodyBytes),
      };
      return 0;
    }
    if (header.lsn > this.#expectedLsn) this.#lose(header.lsn);
    this.#cut = undefined;
    this.#visitor.block({ header, source: window.buffer, start, end });
    await this.#visitor.relax();
    this.#expectedLsn = header.lsn + 1;
    file.firstLsn ??= header.lsn;
    file.lastLsn = header.lsn;
    file.lastStart = position;
    file.end = position + blockBytes(header.bodyBytes);
    return blockBytes(header.bodyBytes);
  }

  #lose(toLsn: number): void {
    this.#isDamaged = true;
    this.#visitor.lost({ fromLsn: this.#expectedLsn, toLsn });
    this.#expectedLsn = toLsn;
  }

  finish(): ScanResult {
    if (this.#durableLsn >= this.#expectedLsn) {
      this.#lose(this.#durableLsn + 1);
      this.#cut = undefined;
    }
    return {
      files: this.#files,
      lastLsn: this.#expectedLsn - 1,
      isDamaged: this.#isDamaged,
      cut: this.#cut,
    };
  }
}

/** A stretch of a file in memory. */
class Window {
  readonly #file: DiskFile;
  readonly #size: number;
  #start = 0;
  buffer: Buffer = Buffer.alloc(0);

  constructor(file: DiskFile, size: number) {
    this.#file = file;
    this.#size = size;
  }

  /**
   * Where byte `position` of the file is in `buffer`, with `count` bytes behind it unless the file
   * ends before.
   */
  async at(position: number, count: number): Promise<number> {
    const end = Math.min(position + count, this.#size);
    if (position >= this.#start && end <= this.#start + this.buffer.length) {
      return position - this.#start;
    }
    const wanted = Math.min(Math.max(count, WINDOW_BYTES), this.#size - position);
    const buffer = Buffer.allocUnsafeSlow(wanted);
    const got = await this.#file.read(buffer, position);
    this.buffer = buffer.subarray(0, got);
    this.#start = position;
    return 0;
  }
}
