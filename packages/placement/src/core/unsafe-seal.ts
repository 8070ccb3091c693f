import {
  decideSeal,
  type FenceReply,
  type SealDecision,
  type SealQuorum,
} from './seal-decision.ts';

/**
 * Decides the end of a segment of which fewer replicas answer than a seal needs, because an operator
 * insists: the longest log that answers is taken for all there is. Records that were acknowledged and are
 * on the other replicas only are lost, so `lengthMin` is what the operator was told: less is refused.
 * While enough answer this is the usual decision. With no intact one it ends where it begins, but only when
 * every replica has answered: a journal that is away may be the one that has it.
 */
export function decideUnsafeSeal(
  quorum: SealQuorum,
  replies: readonly FenceReply[],
  lengthMin: number,
): SealDecision {
  const decision = decideSeal(quorum, replies);
  if (decision.kind !== 'too-few') return decision;
  if (decision.usable === 0) {
    const isGone = replies.length === quorum.replicas && lengthMin <= 0;
    return isGone ? nothingLeft : decision;
  }
  // As if the replicas that do not answer had never been.
  const usable = replies.filter((reply) => reply.kind === 'usable').length;
  const ackQuorum = Math.min(quorum.ackQuorum, usable);
  const relaxed = decideSeal({ replicas: usable, ackQuorum }, onlyUsable(replies));
  const length = relaxed.kind === 'end' || relaxed.kind === 'copies-needed' ? relaxed.length : 0;
  return length < lengthMin ? decision : relaxed;
}

const nothingLeft: SealDecision = {
  kind: 'end',
  length: 0,
  fullNodeIds: [],
  sizeBytes: 0,
  maxTimestampMs: 0,
};

function onlyUsable(replies: readonly FenceReply[]): FenceReply[] {
  return replies.filter((reply) => reply.kind === 'usable');
}
