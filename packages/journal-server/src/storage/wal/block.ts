import { crc32c } from '@robustmq/record-batch';
import { ByteReader, ByteWriter, getU64, putU64 } from '../bytes.ts';

/** Everything in a log file is aligned to this, so that a write never touches an acknowledged sector. */
export const SECTOR_BYTES = 4096;
/** The file header takes the first sector; blocks follow. */
export const FIRST_BLOCK_POSITION = SECTOR_BYTES;
export const BLOCK_HEADER_BYTES = 64;
/** No block is larger: a group of several records, or one record with the largest frame. */
export const BLOCK_BODY_BYTES_MAX = 32 * 1024 * 1024;

const BLOCK_MAGIC = 0x42514d52; // "RMQB"
const FILE_MAGIC = 0x57514d52; // "RMQW"
const FILE_VERSION = 1;

const field = {
  magic: 0,
  flags: 4,
  bodyBytes: 8,
  records: 12,
  lsn: 16,
  previousDurableLsn: 24,
  fileSequence: 32,
  bodyCrc: 40,
  headerCrc: 60,
} as const;

/**
 * The header of one group as it is written with one sync. `lsn` counts groups, without gaps. A group
 * is written only after the sync of the one before it has ended: a valid block proves that every
 * block before it was durable.
 */
export interface BlockHeader {
  readonly lsn: number;
  readonly bodyBytes: number;
  readonly bodyCrc: number;
  readonly records: number;
  readonly previousDurableLsn: number;
  readonly fileSequence: number;
}

/** Bytes a block with such a body takes in its file. */
export function blockBytes(bodyBytes: number): number {
  return Math.ceil((BLOCK_HEADER_BYTES + bodyBytes) / SECTOR_BYTES) * SECTOR_BYTES;
}

/**
 * The checksum of a header begins with a seed made from the disk's id, which clients do not know: no
 * record can hold something that recovery takes for a block.
 */
export function blockSeed(diskUuid: string): number {
  return crc32c(Buffer.from(diskUuid, 'utf8'));
}

export function writeBlockHeader(
  target: Buffer,
  position: number,
  header: BlockHeader,
  seed: number,
): void {
  target.fill(0, position, position + BLOCK_HEADER_BYTES);
  target.writeUInt32LE(BLOCK_MAGIC, position + field.magic);
  target.writeUInt32LE(header.bodyBytes, position + field.bodyBytes);
  target.writeUInt32LE(header.records, position + field.records);
  putU64(target, position + field.lsn, header.lsn);
  putU64(target, position + field.previousDurableLsn, header.previousDurableLsn);
  putU64(target, position + field.fileSequence, header.fileSequence);
  target.writeUInt32LE(header.bodyCrc, position + field.bodyCrc);
  const crc = crc32c(target, position, position + field.headerCrc, seed);
  target.writeUInt32LE(crc, position + field.headerCrc);
}

/** The header at `position`, or undefined when there is none of that file. Total on arbitrary bytes. */
export function readBlockHeader(
  source: Buffer,
  position: number,
  fileSequence: number,
  seed: number,
): BlockHeader | undefined {
  if (source.length - position < BLOCK_HEADER_BYTES) return undefined;
  if (source.readUInt32LE(position + field.magic) !== BLOCK_MAGIC) return undefined;
  const crc = crc32c(source, position, position + field.headerCrc, seed);
  if (source.readUInt32LE(position + field.headerCrc) !== crc) return undefined;
  // A recycled file still holds blocks of its former life.
  if (getU64(source, position + field.fileSequence) !== fileSequence) return undefined;
  const bodyBytes = source.readUInt32LE(position + field.bodyBytes);
  if (bodyBytes > BLOCK_BODY_BYTES_MAX) return undefined;
  return {
    lsn: getU64(source, position + field.lsn),
    bodyBytes,
    bodyCrc: source.readUInt32LE(position + field.bodyCrc),
    records: source.readUInt32LE(position + field.records),
    previousDurableLsn: getU64(source, position + field.previousDurableLsn),
    fileSequence,
  };
}

/**
 * Whether a sector that holds no block looks as if this one had been begun there: its number or its file
 * stands where they belong. A file that is used again holds anything elsewhere.
 */
export function looksBegun(
  source: Buffer,
  position: number,
  block: { readonly lsn: number; readonly fileSequence: number },
): boolean {
  if (source.length - position < BLOCK_HEADER_BYTES) return false;
  const isNumbered = getU64(source, position + field.lsn) === block.lsn;
  const isOfFile = getU64(source, position + field.fileSequence) === block.fileSequence;
  const isMarked = source.readUInt32LE(position + field.magic) === BLOCK_MAGIC;
  return Number(isNumbered) + Number(isOfFile) + Number(isMarked) >= 2;
}

/** The first sector of a log file: for people and tools; recovery goes by the blocks. */
export function walFileHeader(identity: WalIdentity, sequence: number): Buffer {
  const writer = new ByteWriter(SECTOR_BYTES);
  writer.u32(FILE_MAGIC).u32(FILE_VERSION).u64(sequence);
  writer.text(identity.diskUuid).text(identity.nodeId).text(identity.clusterId);
  writer.u32(crc32c(writer.view()));
  const sector = Buffer.alloc(SECTOR_BYTES);
  writer.view().copy(sector);
  return sector;
}

export interface WalIdentity {
  readonly diskUuid: string;
  readonly nodeId: string;
  readonly clusterId: string;
}

/** The format version of a log file's header; undefined when the header is not intact. */
export function walFileVersion(sector: Buffer): number | undefined {
  try {
    const reader = new ByteReader(sector);
    if (reader.u32() !== FILE_MAGIC) return undefined;
    const version = reader.u32();
    reader.u64();
    for (let text = 0; text < 3; text++) reader.text();
    const end = reader.position;
    return reader.u32() === crc32c(sector, 0, end) ? version : undefined;
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

export { FILE_VERSION as WAL_FILE_VERSION };
