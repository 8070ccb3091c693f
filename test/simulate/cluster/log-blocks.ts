import type { MemoryDisk } from '../../../packages/testkit/src/memory-disk.ts';

/** As docs/journal.md 3.3 and the storage have them: blocks at sectors, a header each, then records. */
export const sectorBytes = 4096;
const magic = 'RMQB';
const bodyBytesAt = 8;
const lsnAt = 16;
const headerBytes = 64;
const record = { frame: 2, headerBytes: 24, payloadBytesAt: 4, idAt: 8, idBytes: 16 };

/** A block of a journal's log, also one that is left of earlier use. */
export interface LogBlock {
  readonly path: string;
  readonly position: number;
  readonly sectors: number;
  /** Grows from block to block. */
  readonly lsn: number;
  /** By replica, whether the last of its records about it is a frame. */
  readonly replicas: ReadonlyMap<string, boolean>;
}

/** The blocks of a log, the newest first. */
export function logBlocks(disk: MemoryDisk): LogBlock[] {
  const paths = disk.paths().filter((path) => path.startsWith('wal/'));
  const blocks = paths.flatMap((path) => {
    const content = disk.content(path);
    const positions = Array.from(
      { length: Math.floor(content.length / sectorBytes) },
      (_, at) => at * sectorBytes,
    );
    return positions
      .filter((position) => content.toString('latin1', position, position + 4) === magic)
      .map((position) => blockAt(path, content, position));
  });
  return blocks.sort((one, other) => other.lsn - one.lsn);
}

/**
 * Blocks with frames of some replicas behind which the log says nothing of that replica: nothing there shows
 * that they are lost.
 */
export function lastFrames(blocks: readonly LogBlock[], of: ReadonlySet<string>): LogBlock[] {
  const named = new Set<string>();
  return blocks.filter(({ replicas }) => {
    const isLast = [...replicas].some(
      ([replica, isFrame]) => isFrame && of.has(replica) && !named.has(replica),
    );
    for (const replica of replicas.keys()) named.add(replica);
    return isLast;
  });
}

function blockAt(path: string, content: Buffer, position: number): LogBlock {
  const lsn = content.readUInt32LE(position + lsnAt);
  const start = position + headerBytes;
  const end = Math.min(content.length, start + content.readUInt32LE(position + bodyBytesAt));
  const replicas = new Map<string, boolean>();
  for (let at = start; at + record.headerBytes <= end;) {
    const replica = content.toString('hex', at + record.idAt, at + record.idAt + record.idBytes);
    replicas.set(replica, content.readUInt32LE(at) === record.frame);
    at += record.headerBytes + content.readUInt32LE(at + record.payloadBytesAt);
  }
  const sectors = Math.ceil((end - position) / sectorBytes);
  return { path, position, sectors, lsn, replicas };
}
