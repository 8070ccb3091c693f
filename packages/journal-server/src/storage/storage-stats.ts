import type { FileStorageParts } from './file-storage.ts';
import type { StorageStats } from './storage.ts';
import type { WalWriter } from './wal/wal-writer.ts';

type StatsParts = Pick<FileStorageParts, 'debt' | 'space' | 'hooks'>;

/** What the storage's parts measure, in one place. */
export function makeStats(parts: StatsParts, writer: WalWriter): StorageStats {
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
