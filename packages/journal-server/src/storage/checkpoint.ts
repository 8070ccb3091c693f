import { epoch, incarnation, offset, OperatingError } from '@robustmq/core';
import { crc32c } from '@robustmq/record-batch';
import { ByteReader, ByteWriter } from './bytes.ts';
import type { Disk } from './disk.ts';
import { readWhole, syncFile, writeAll } from './disk.ts';
import {
  readManifest,
  SEGMENT_ID_BYTES,
  segmentIdAt,
  segmentIdBytes,
  writeManifest,
} from './manifest.ts';
import { Replica } from './replica.ts';

const MAGIC = 0x43514d52; // "RMQC"
/** Before 2 no replica had a name of its own. */
const VERSION = 2;
const VERSION_MIN = 1;
const HEADER_BYTES = 128;
const NONE = 0xffffffff;

/**
 * What recovery begins with. Replicas are taken one by one while the log goes on, so an entry may
 * already know records at or behind `startLsn`: applying them again changes nothing.
 */
export interface Checkpoint {
  /** Counts checkpoints; the slot is this modulo 2. */
  readonly number: number;
  /** Log files below this sequence hold nothing that is needed. */
  readonly replayFrom: number;
  /** Lsn of the first group in that file. */
  readonly replayLsn: number;
  /** Every record of a group below this is in the entries. */
  readonly startLsn: number;
  /** This group and all before it are durable: damage there is damage, never a torn write. */
  readonly durableLsn: number;
}

/** A checkpoint as it was read. */
export interface StoredCheckpoint extends Checkpoint {
  readonly replicas: Replica[];
  /** What each replica held then, in memory, log and file together; in the order of `replicas`. */
  readonly lengths: readonly { readonly length: number; readonly bytes: number }[];
}

export function checkpointPath(number: number): string {
  return `checkpoint.${number % 2}`;
}

/** Writes one slot; the other one stays as it is. */
export async function writeCheckpoint(
  disk: Disk,
  checkpoint: Checkpoint,
  entries: ByteWriter,
  count: number,
): Promise<void> {
  const path = checkpointPath(checkpoint.number);
  const isNew = !(await disk.exists(path));
  const file = await disk.open(path, 'create');
  try {
    const header = encodeHeader(checkpoint, entries, count);
    await writeAll(file, [header, entries.view()], 0);
    await syncFile(file);
  } finally {
    await file.close();
  }
  if (isNew) await disk.syncFolder('');
}

function encodeHeader(checkpoint: Checkpoint, entries: ByteWriter, count: number): Buffer {
  const header = new ByteWriter(HEADER_BYTES);
  header.u32(MAGIC).u32(VERSION).u64(checkpoint.number).u64(checkpoint.replayFrom);
  header.u64(checkpoint.replayLsn).u64(checkpoint.startLsn).u64(checkpoint.durableLsn);
  header.u32(count).u32(entries.length).u32(crc32c(entries.view()));
  header.bytes(Buffer.alloc(HEADER_BYTES - 4 - header.length));
  return header.u32(crc32c(header.view())).view();
}

export function writeEntry(writer: ByteWriter, replica: Replica): void {
  writer.bytes(replica.idBytes);
  writeManifest(writer, replica.manifest);
  writer.u8(
    (replica.baseOffset === undefined ? 0 : 1) |
      (replica.sealedLength === undefined ? 0 : 2) |
      (replica.damaged ? 4 : 0) |
      (replica.hasFooter ? 8 : 0) |
      (replica.isCopying ? 16 : 0) |
      (replica.fileId === replica.manifest.segmentId ? 0 : 32),
  );
  writer.u64(replica.baseOffset ?? 0).u64(replica.sealedLength ?? 0);
  writer.u32(replica.fencedEpoch).u32(replica.activatedBy ?? NONE);
  writer.u64(replica.length).u64(replica.sizeBytes);
  writer.u64(replica.synced.records).u64(replica.synced.bytes).u32(replica.synced.chain);
  const isSnapshotSynced = replica.lastSnapshotBytes < replica.synced.bytes;
  writer.f64(isSnapshotSynced ? replica.lastSnapshotBytes : -1);
  writer.f64(replica.maxTimestampMs).u64(replica.firstAppendMs);
  const { segmentId } = replica.manifest;
  if (replica.fileId !== segmentId) writer.bytes(segmentIdBytes(segmentId));
}

function readEntry(reader: ByteReader): { replica: Replica; length: number; bytes: number } {
  const id = segmentIdAt(reader.bytes(SEGMENT_ID_BYTES), 0);
  const manifest = readManifest(reader, id);
  const flags = reader.u8();
  const baseOffset = reader.u64();
  const sealedLength = reader.u64();
  const fencedEpoch = epoch(reader.u32());
  const activatedBy = reader.u32();
  const length = reader.u64();
  const bytes = reader.u64();
  const records = reader.u64();
  const syncedBytes = reader.u64();
  const synced = { records, bytes: syncedBytes, chain: reader.u32() };
  const lastSnapshotBytes = reader.f64();
  const maxTimestampMs = reader.f64();
  const firstAppendMs = reader.u64();
  const segment = (flags & 32) === 0 ? id : segmentIdAt(reader.bytes(SEGMENT_ID_BYTES), 0);
  const replica = new Replica({ ...manifest, segmentId: segment }, id);
  if ((flags & 1) !== 0) replica.baseOffset = offset(baseOffset);
  if ((flags & 2) !== 0) replica.sealedLength = sealedLength;
  replica.damaged = (flags & 4) !== 0;
  replica.hasFooter = (flags & 8) !== 0;
  replica.isCopying = (flags & 16) !== 0;
  replica.fencedEpoch = fencedEpoch;
  if (activatedBy !== NONE) replica.activatedBy = incarnation(activatedBy);
  replica.restoreSynced(synced);
  Object.assign(replica, { lastSnapshotBytes, maxTimestampMs, firstAppendMs });
  return { replica, length, bytes };
}

/** The newer of the two slots that is intact; undefined when no slot exists. Throws DAMAGED when none is. */
export async function readCheckpoint(disk: Disk): Promise<StoredCheckpoint | undefined> {
  const slots = [
    await readWhole(disk, checkpointPath(0)),
    await readWhole(disk, checkpointPath(1)),
  ];
  if (slots.every((slot) => slot === undefined)) return undefined;
  const intact = slots.map((slot) => (slot === undefined ? undefined : decode(slot)));
  const [first, second] = intact;
  if (first === undefined || second === undefined) {
    const only = first ?? second;
    if (only !== undefined) return only;
    throw new OperatingError(
      'DAMAGED',
      'Both checkpoints of the data folder are damaged, so its log cannot be read: start with an empty folder and let the other replicas fill it, or restore a copy.',
    );
  }
  return first.number > second.number ? first : second;
}

function decode(slot: Buffer): StoredCheckpoint | undefined {
  if (slot.length < HEADER_BYTES || slot.readUInt32LE(0) !== MAGIC) return undefined;
  if (slot.readUInt32LE(HEADER_BYTES - 4) !== crc32c(slot, 0, HEADER_BYTES - 4)) return undefined;
  const header = new ByteReader(slot, 4);
  const version = header.u32();
  if (version < VERSION_MIN || version > VERSION) return undefined;
  const number = header.u64();
  const replayFrom = header.u64();
  const replayLsn = header.u64();
  const startLsn = header.u64();
  const durableLsn = header.u64();
  const count = header.u32();
  const end = HEADER_BYTES + header.u32();
  if (end > slot.length || header.u32() !== crc32c(slot, HEADER_BYTES, end)) return undefined;
  const reader = new ByteReader(slot, HEADER_BYTES);
  const entries = Array.from({ length: count }, () => readEntry(reader));
  return {
    number,
    replayFrom,
    replayLsn,
    startLsn,
    durableLsn,
    replicas: entries.map((entry) => entry.replica),
    lengths: entries,
  };
}
