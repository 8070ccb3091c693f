import { OperatingError } from '@robustmq/core';
import type { ReplicaEffect, ReplicaEvent } from './replica-event.ts';
import type { ReplicaState } from './replica-state.ts';

type Replicate = Extract<ReplicaEvent, { readonly kind: 'replicate' }>;

/**
 * Takes frames from the leader (docs/journal.md, section 2.3, "Follower"). Nothing is confirmed here:
 * that follows with the sync.
 */
export function followFrames(
  state: ReplicaState,
  event: Replicate,
  effects: ReplicaEffect[],
): void {
  const error = reasonToReject(state, event);
  if (error !== undefined) {
    effects.push({ kind: 'rejectFrames', error, length: state.length });
    return;
  }
  state.role = 'follower';
  state.baseOffset ??= event.baseOffset;
  const skipRecords = Math.min(state.length - event.previousLength, event.records);
  effects.push({ kind: 'store', skipRecords });
  state.length = Math.max(state.length, event.previousLength + event.records);
  const commitLength = Math.min(event.commitLength, state.length);
  if (commitLength <= state.commitLength) return;
  state.commitLength = commitLength;
  effects.push({ kind: 'readable' });
}

function reasonToReject(state: ReplicaState, event: Replicate): OperatingError | undefined {
  const { identity, fencedEpoch, role, length, baseOffset } = state;
  if (fencedEpoch > identity.epoch || event.epoch !== identity.epoch) {
    const message = `segment ${identity.segmentId} is fenced with epoch ${fencedEpoch}: its leader has to stop`;
    return new OperatingError('FENCED', message, { epoch: fencedEpoch });
  }
  if (role === 'leader' || role === 'closed') {
    return new OperatingError('FENCED', `this replica of segment ${identity.segmentId} is ${role}`);
  }
  if (baseOffset !== undefined && baseOffset !== event.baseOffset) {
    const message = `segment ${identity.segmentId} begins at ${baseOffset}, not at ${event.baseOffset}`;
    return new OperatingError('DAMAGED', message);
  }
  if (event.previousLength <= length) return undefined;
  const message = `frames are missing from record ${length} on: send them first`;
  return new OperatingError('CONFLICT', message);
}
