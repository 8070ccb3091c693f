import { epoch as epochOf, OperatingError, type SegmentId } from '@robustmq/core';
import type { PrepareReplica, RecoverSegment } from '@robustmq/rpc';
import { segmentUnknown } from './control-port.ts';
import { manifestOf } from './prepare-order.ts';
import type { RecoverPort } from './recover-order.ts';
import type { StoredReplica } from '../storage/storage.ts';

/** Puts frames behind the log until it has `length` records. Throws an OperatingError. */
export type FillLog = (stored: StoredReplica) => Promise<void>;

/**
 * Makes a replica of a sealed segment where there is none, or a damaged one (docs/journal.md 2.7, S4). It is marked as a copy
 * durably and unknown to everybody until the record that seals it, with all records, is durable. A copy that
 * was cut off is gone on with; one that is damaged is dropped and begun again.
 */
export async function copySegment(
  port: RecoverPort,
  order: RecoverSegment,
  segmentId: SegmentId,
  fill: FillLog,
): Promise<void> {
  const { storage, copying } = port;
  if (order.copy === undefined) throw unknown(segmentId);
  if (copying.has(segmentId)) {
    const message = `a copy of segment ${segmentId} is being made here`;
    throw new OperatingError('RESOURCE_EXHAUSTED', message, { retryAfterMs: 1_000 });
  }
  copying.add(segmentId);
  try {
    const stored = await begin(port, order.copy, order.epoch, segmentId);
    await fill(stored);
    // A delete may have come meanwhile.
    if (storage.copyOf(segmentId) !== stored) throw unknown(segmentId);
    await storage.seal([{ replica: stored, length: order.length }]);
    if (storage.replica(segmentId) !== stored) throw unknown(segmentId);
    const damaged = port.replica(segmentId);
    if (damaged !== undefined) {
      port.driver.run(damaged, { kind: 'close' });
      port.remove(damaged);
    }
    port.adopt([segmentId]);
    const fields = { segmentId, records: order.length, replacesDamaged: damaged !== undefined };
    port.logger.info(fields, 'a replica was copied');
  } finally {
    copying.delete(segmentId);
  }
}

async function begin(
  { storage }: RecoverPort,
  copy: PrepareReplica,
  epoch: number,
  segmentId: SegmentId,
): Promise<StoredReplica> {
  const before = storage.copyOf(segmentId);
  if (before !== undefined && !before.damaged) return before;
  if (before !== undefined) await storage.abandonCopy(before);
  const manifest = manifestOf(copy);
  if (manifest.segmentId !== segmentId || !manifest.replicaNodeIds.includes(storage.nodeId)) {
    const message = `the order to copy segment ${segmentId} does not name this journal, ${storage.nodeId}`;
    throw new OperatingError('INVALID_ARGUMENT', message);
  }
  return storage.createCopy(manifest, epochOf(epoch));
}

function unknown(segmentId: SegmentId): OperatingError {
  return new OperatingError('SEGMENT_UNKNOWN', segmentUnknown(segmentId).message);
}
