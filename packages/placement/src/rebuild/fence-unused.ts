import { errorCodeOf } from '@robustmq/core';
import type { Authority, FenceResult } from '@robustmq/rpc';
import type { Finding } from '../core/rebuild/finding.ts';
import type { ReportedSegment } from '../core/rebuild/reported-segment.ts';
import { decideSeal, type FenceReply } from '../core/seal-decision.ts';
import { fenceAt, type JournalSurvey } from './journal-survey.ts';

/** `used`: a segment was led after all, so the plan has to be made again. */
export interface Fenced {
  readonly used: boolean;
  readonly findings: readonly Finding[];
}

/**
 * Fences segments that no replica was led or followed of, so that none can be led any more, and checks
 * that they are empty, by the rule of every seal, or because no ack quorum of their journals is missing or
 * has lost its disk: such a segment may have been opened, by an order that was still under way, and would
 * then get records that the rebuilt chain does not know.
 */
export async function fenceUnused(
  survey: Pick<JournalSurvey, 'journals' | 'isWhole'>,
  authority: Authority,
  segments: readonly ReportedSegment[],
): Promise<Fenced> {
  const replies = new Map<ReportedSegment, FenceReply[]>();
  for (const segment of segments) replies.set(segment, []);
  await Promise.all(
    [...survey.journals.values()].map(async (journal) => {
      const held = segments.filter(({ reports }) =>
        reports.some(({ nodeId }) => nodeId === journal.nodeId),
      );
      const orders = held.map((one) => ({ segmentId: one.segmentId, epoch: fenceEpochOf(one) }));
      const results = await fenceAt(journal, authority, orders);
      held.forEach((segment, at) => {
        const result = results[at];
        if (result !== undefined) replies.get(segment)?.push(replyOf(journal.nodeId, result));
      });
    }),
  );
  const findings: Finding[] = [];
  let used = false;
  for (const [segment, answers] of replies) {
    const quorum = { replicas: segment.replicaNodeIds.length, ackQuorum: segment.ackQuorum };
    const decision = decideSeal(quorum, answers);
    if (decision.kind === 'end' && decision.length === 0) continue;
    if (decision.kind !== 'too-few') used = true;
    else if (mayHoldRecords(segment, answers, survey)) {
      const text = `segment ${segment.segmentId.toString('hex')} of shard ${segment.shardId} may have been opened: ${decision.usable} of its journals answer and are intact, ${decision.needed} are needed to know that it is empty`;
      findings.push({ kind: 'loss', text });
    }
  }
  return { used, findings };
}

/**
 * Whether the journals that could not be asked, or have another disk now, are enough to have committed
 * something: if not, one that was asked would have the records. One whose replica is there, intact and empty
 * has none, whatever copies know of its disk.
 */
function mayHoldRecords(
  { replicaNodeIds, ackQuorum }: ReportedSegment,
  answers: readonly FenceReply[],
  survey: Pick<JournalSurvey, 'isWhole'>,
): boolean {
  const isEmpty = (nodeId: string): boolean =>
    answers.some(
      (reply) => reply.kind === 'usable' && reply.nodeId === nodeId && reply.length === 0,
    );
  const unknown = replicaNodeIds.filter((nodeId) => !isEmpty(nodeId) && !survey.isWhole(nodeId));
  return unknown.length >= ackQuorum;
}

function fenceEpochOf({ epoch, reports }: ReportedSegment): number {
  return Math.max(epoch + 1, ...reports.map(({ fencedEpoch }) => fencedEpoch));
}

function replyOf(nodeId: string, result: FenceResult): FenceReply {
  const code = result.status?.code ?? 0;
  if (code === 0) {
    const { length, chain, sizeBytes, maxTimestampMs } = result;
    return { kind: 'usable', nodeId, length, chain, sizeBytes, maxTimestampMs };
  }
  if (errorCodeOf(code) === 'FENCED') {
    return { kind: 'stale', nodeId, epoch: result.status?.hintEpoch ?? 0 };
  }
  return { kind: 'unusable', nodeId };
}
