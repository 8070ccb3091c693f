import type { Segment } from '@robustmq/rpc';

import type { ReplicaReport } from './replica-reports.ts';

/** What is known of a segment before it is sealed with fewer replicas than that needs. */
export interface SealLoss {
  /** Replicas that answer and are intact. */
  readonly intact: number;
  /** Intact ones with which every acknowledged record is in one of them: R - AQ + 1. */
  readonly needed: number;
  /** Offset behind the longest log that answers: where the segment would end, or above. */
  readonly endOffset: number;
  readonly reports: readonly ReplicaReport[];
  /** Journals that do not answer: each may have all of it. */
  readonly away: readonly string[];
}

export function lossOf(segment: Segment, reports: readonly ReplicaReport[]): SealLoss {
  const segmentId = segment.segmentId.toString('hex');
  const own = reports.filter((report) => report.segmentId === segmentId);
  const intact = own.flatMap(({ replica }) =>
    replica === undefined || replica.damaged ? [] : [replica],
  );
  const length = Math.max(0, ...intact.map((replica) => replica.length));
  return {
    intact: intact.length,
    needed: segment.replicaNodeIds.length - segment.ackQuorum + 1,
    endOffset: segment.baseOffset + length,
    reports: own,
    away: own.filter(({ state }) => state === 'away').map(({ nodeId }) => nodeId),
  };
}

/** In words, what may be lost, for who has to decide. */
export function lossText(name: string, segment: Segment, loss: SealLoss): string {
  const { intact, needed, endOffset, reports } = loss;
  const lines = reports.map(({ nodeId, state, replica }) =>
    replica === undefined
      ? `  ${nodeId}: ${state}`
      : `  ${nodeId}: ${replica.length} records, ${replica.commitLength} of them known to be committed, ${state}`,
  );
  const absent = reports
    .filter(({ replica }) => replica === undefined || replica.damaged)
    .map(({ nodeId }) => nodeId);
  return [
    `${name}, segment from offset ${segment.baseOffset}: ${intact} of ${reports.length} replicas answer and are intact, ${needed} are needed to know all that was acknowledged.`,
    ...lines,
    `Sealed now it ends at offset ${endOffset}. What was acknowledged from there on, if anything was, is only at ${absent.join(', ')}: it is lost for good, and its offsets are given to other records.`,
    'If one of those journals can come back, bring it back instead: the partition then goes on by itself.',
    '',
  ].join('\n');
}
