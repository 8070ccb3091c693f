import { type SegmentId, segmentId } from '@robustmq/core';
import { crc32c } from '@robustmq/record-batch';
import { ByteReader, ByteWriter } from '../bytes.ts';
import { type Disk, readWhole, replaceWhole } from '../disk.ts';
import { SEGMENT_ID_BYTES } from '../manifest.ts';

const FILE = 'scrub';
const MAGIC = 0x53514d52; // "RMQS"
const BYTES = 4 + 8 + 8 + SEGMENT_ID_BYTES + 4;
const FIRST_ID = segmentId('0'.repeat(32));

/** Where a scrub goes on after a start. Replicas are read in the order of their ids. */
export interface ScrubPlace {
  /** When the pass began, ms since 1970; 0 when none was begun. */
  readonly begunMs: number;
  /** When the last complete one ended. */
  readonly completedMs: number;
  /** All up to this one were read; undefined when the pass is complete. */
  readonly after: SegmentId | undefined;
}

/** The first pass begins. */
export const scrubStart: ScrubPlace = { begunMs: 0, completedMs: 0, after: undefined };

/** Where each pass begins: no segment has this id. */
export const beforeAll = FIRST_ID;

/** A file that is damaged or missing costs one pass too many, nothing else. */
export async function readScrubPlace(disk: Disk): Promise<ScrubPlace> {
  const content = await readWhole(disk, FILE);
  if (content?.length !== BYTES || content.readUInt32LE(0) !== MAGIC) return scrubStart;
  if (content.readUInt32LE(BYTES - 4) !== crc32c(content, 0, BYTES - 4)) return scrubStart;
  const reader = new ByteReader(content, 4);
  const [begunMs, completedMs] = [reader.u64(), reader.u64()];
  const id = segmentId(reader.bytes(SEGMENT_ID_BYTES).toString('hex'));
  return { begunMs, completedMs, after: id === FIRST_ID ? undefined : id };
}

export async function writeScrubPlace(disk: Disk, place: ScrubPlace): Promise<void> {
  const writer = new ByteWriter(BYTES).u32(MAGIC).u64(place.begunMs).u64(place.completedMs);
  writer.bytes(Buffer.from(place.after ?? FIRST_ID, 'hex'));
  await replaceWhole(disk, FILE, Buffer.from(writer.u32(crc32c(writer.view())).view()));
}
