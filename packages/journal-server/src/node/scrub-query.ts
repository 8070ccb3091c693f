import { type ScrubRequest, type ScrubResponse, segmentIdToBytes } from '@robustmq/rpc';
import type { JournalStorage } from '../storage/storage.ts';

/** How far the scrub is; begins it first when that is asked for. Throws UNAVAILABLE when the storage has ended. */
export function scrubState(storage: JournalStorage, { begin }: ScrubRequest): ScrubResponse {
  if (begin) storage.beginScrub();
  const { pass, isRunning, replicas, replicasRead, bytes, bytesRead } = storage.scrub;
  const { damaged, unread, completedMs } = storage.scrub;
  const findings = storage.damages.last.map(({ segmentId, file, fromByte, toByte, reason }) => ({
    segmentId: segmentIdToBytes(segmentId),
    file,
    fromByte,
    toByte,
    reason,
  }));
  const counts = { replicas, replicasRead, bytes, bytesRead, damaged, unread };
  return { pass, running: isRunning, ...counts, findings, completedMs };
}
