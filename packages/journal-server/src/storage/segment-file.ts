import type { SegmentId } from '@robustmq/core';
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
  for (let byte = 0; byte < 256; byte++) {
    await disk.makeFolder(`${SEGMENT_FOLDER}/${byte.toString(16).padStart(2, '0')}`);
  }
  await disk.syncFolder(SEGMENT_FOLDER);
}
