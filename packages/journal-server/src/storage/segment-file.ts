import { segmentId, type SegmentId } from '@robustmq/core';
import type { Disk } from './disk.ts';

export const SEGMENT_FOLDER = 'seg';

/** Names come from the id's hex digits only, never from what a user wrote. */
export function segmentFolder(id: SegmentId): string {
  return `${SEGMENT_FOLDER}/${id.slice(0, 2)}`;
}

export function segmentPath(id: SegmentId): string {
  return `${segmentFolder(id)}/${id}.log`;
}

/** Makes the 256 folders of segment files, durably, so that later only files are made. */
export async function makeSegmentFolders(disk: Disk): Promise<void> {
  await disk.makeFolder(SEGMENT_FOLDER);
  for (const folder of segmentFolders()) await disk.makeFolder(folder);
  await disk.syncFolder(SEGMENT_FOLDER);
}

function segmentFolders(): string[] {
  return Array.from(
    { length: 256 },
    (_, byte) => `${SEGMENT_FOLDER}/${byte.toString(16).padStart(2, '0')}`,
  );
}

/** A file among segment files. */
export interface UnknownFile {
  readonly path: string;
  /** Undefined when its name is none of ours. */
  readonly fileId: SegmentId | undefined;
}

/** Segment files whose replicas are not known. */
export async function unknownSegmentFiles(
  disk: Disk,
  isKnown: (fileId: SegmentId) => boolean,
): Promise<UnknownFile[]> {
  const unknown: UnknownFile[] = [];
  for (const folder of segmentFolders()) {
    for (const name of await disk.list(folder)) {
      const fileId = /^[0-9a-f]{32}\.log$/.test(name) ? segmentId(name.slice(0, 32)) : undefined;
      if (fileId === undefined || !isKnown(fileId))
        unknown.push({ path: `${folder}/${name}`, fileId });
    }
  }
  return unknown;
}
