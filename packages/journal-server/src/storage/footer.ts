import { crc32c } from '@robustmq/record-batch';
import { ByteReader, ByteWriter } from './bytes.ts';
import type { DiskFile } from './disk.ts';
import { segmentIdBytes, writeManifest } from './manifest.ts';
import type { Replica } from './replica.ts';
import { SparseIndex } from './sparse-index.ts';

const TRAILER_MAGIC = 0x46514d52; // "RMQF"
const FOOTER_VERSION = 1;
const TRAILER_BYTES = 64;

/** Types of the sections of a footer; a reader passes over those it does not know. */
const sectionType = {
  manifest: 1,
  sparseIndex: 2,
  statistics: 3,
  // Reserved: 4 key filters, 5 aborted transactions, 6 SHA-256 of the data.
} as const;

/**
 * What stands behind the frames of a sealed segment: sections, each {type u32, length u32, bytes},
 * and a trailer of 64 bytes. All of it is derived from the frames: a file without one, or with a
 * broken one, is read through instead.
 */
export function encodeFooter(replica: Replica, index: SparseIndex): Buffer {
  const footer = new ByteWriter(4096);
  section(footer, sectionType.manifest, (writer) => {
    writer.bytes(segmentIdBytes(replica.manifest.segmentId)).u64(replica.baseOffset ?? 0);
    writeManifest(writer, replica.manifest);
  });
  section(footer, sectionType.sparseIndex, (writer) => writeIndex(writer, index));
  section(footer, sectionType.statistics, (writer) => {
    writer.u64(replica.length).u64(replica.sizeBytes).u32(replica.chain);
    writer.u64(replica.firstAppendMs).f64(replica.maxTimestampMs).f64(replica.lastSnapshotBytes);
  });
  const sectionsBytes = footer.length;
  const sectionsCrc = crc32c(footer.view());
  const trailer = new ByteWriter(TRAILER_BYTES);
  trailer.u32(TRAILER_MAGIC).u32(FOOTER_VERSION).u64(replica.sizeBytes).u64(replica.length);
  trailer.u32(sectionsBytes).u32(sectionsCrc).bytes(replica.idBytes);
  trailer.bytes(Buffer.alloc(TRAILER_BYTES - 4 - trailer.length));
  trailer.u32(crc32c(trailer.view()));
  return Buffer.from(footer.bytes(trailer.view()).view());
}

function section(footer: ByteWriter, type: number, fill: (writer: ByteWriter) => void): void {
  const content = new ByteWriter();
  fill(content);
  footer.u32(type).u32(content.length).bytes(content.view());
}

/** Entries of {record index u64, byte position u64, running largest time stamp f64}. */
function writeIndex(writer: ByteWriter, index: SparseIndex): void {
  for (let entry = 0; entry < index.entries; entry++) {
    writer.u64(index.indexAt(entry)).u64(index.positionAt(entry)).f64(index.timestampAt(entry));
  }
}

const INDEX_ENTRY_BYTES = 24;

/** The footer behind `dataBytes` bytes of frames; undefined when there is none that is intact. */
export async function readFooter(
  file: DiskFile,
  dataBytes: number,
): Promise<{ readonly index: SparseIndex } | undefined> {
  const size = await file.size();
  if (size < dataBytes + TRAILER_BYTES) return undefined;
  const footer = Buffer.allocUnsafeSlow(size - dataBytes);
  if ((await file.read(footer, dataBytes)) < footer.length) return undefined;
  const sections = checkedSections(footer, dataBytes);
  return sections === undefined ? undefined : { index: indexOf(sections) };
}

function checkedSections(footer: Buffer, dataBytes: number): Buffer | undefined {
  const start = footer.length - TRAILER_BYTES;
  const trailer = new ByteReader(footer, start);
  if (trailer.u32() !== TRAILER_MAGIC || trailer.u32() !== FOOTER_VERSION) return undefined;
  if (footer.readUInt32LE(footer.length - 4) !== crc32c(footer, start, footer.length - 4)) {
    return undefined;
  }
  if (trailer.u64() !== dataBytes) return undefined;
  trailer.u64();
  const sections = footer.subarray(0, start);
  if (trailer.u32() !== start || trailer.u32() !== crc32c(sections)) return undefined;
  return sections;
}

function indexOf(sections: Buffer): SparseIndex {
  const index = new SparseIndex();
  const reader = new ByteReader(sections);
  while (reader.position < sections.length) {
    const type = reader.u32();
    const length = reader.u32();
    const content = new ByteReader(reader.bytes(length));
    if (type !== sectionType.sparseIndex) continue;
    for (let read = 0; read < length; read += INDEX_ENTRY_BYTES) {
      index.push(content.u64(), content.u64(), content.f64());
    }
  }
  return index;
}
