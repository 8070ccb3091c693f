import { assert, OperatingError } from '@robustmq/core';
import type { ReplicaEffect, ReplicaEvent } from './replica-event.ts';
import type { ReplicaState } from './replica-state.ts';

type Replicate = Extract<ReplicaEvent, { readonly kind: 'replicate' }>;

type Stored = Extract<ReplicaEvent, { readonly kind: 'stored' }>;

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
  effects.push({ kind: 'store' });
}

/** What came is in the log. Frames that were there already are confirmed again: the leader asks anew. */
export function framesStored(state: ReplicaState, event: Stored, effects: ReplicaEffect[]): void {
  assert(state.role === 'follower', 'only a follower stores what a leader sends');
  assert(event.length >= state.length, 'a log never gets shorter by what is stored (I4)');
  const isNothingNew = event.length === state.length;
  state.length = event.length;
  const commitLength = Math.min(event.commitLength, state.length);
  if (commitLength > state.commitLength) {
    state.commitLength = commitLength;
    effects.push({ kind: 'readable' });
  }
  const durableLength = state.match[state.identity.selfIndex] ?? 0;
  if (isNothingNew) effects.push({ kind: 'confirm', durableLength });
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
