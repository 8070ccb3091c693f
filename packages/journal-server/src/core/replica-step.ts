import { assert, OperatingError, unreachable } from '@robustmq/core';
import { committedLength } from './commit.ts';
import { followFrames, framesStored } from './follower-step.ts';
import {
  admit,
  drainAnswers,
  expireHeld,
  takeWaiting,
  written,
  writeRefused,
} from './leader-append.ts';
import type { ReplicaEffect, ReplicaEvent } from './replica-event.ts';
import { newLeading, type ReplicaState } from './replica-state.ts';

/**
 * Takes one replica through one event: changes `state` and adds to `effects` what the shell has to do,
 * in order. No I/O, no clock: `nowMs` is the monotonic time. The transition table is in DESIGN.md.
 */
export function step(
  state: ReplicaState,
  event: ReplicaEvent,
  nowMs: number,
  effects: ReplicaEffect[],
): void {
  switch (event.kind) {
    case 'activate':
      assert(
        canActivate(state),
        'a segment is led at most once, unfenced and from its first record',
      );
      state.role = 'leader';
      state.baseOffset = event.baseOffset;
      state.leading = newLeading(event.producers);
      return;
    case 'append':
      admit(state, event.append, nowMs, effects);
      return;
    case 'written':
      written(state, event.frameBytes, nowMs, effects);
      return;
    case 'writeRefused':
      writeRefused(state, event.error, effects);
      return;
    case 'snapshotWritten':
      snapshotWritten(state);
      return;
    case 'localDurable':
      localDurable(state, event.durableLength, effects);
      return;
    case 'replicateAck':
      if (event.epoch === state.identity.epoch) {
        durableAt(state, event.replicaIndex, event.durableLength, effects);
      }
      return;
    case 'replicate':
      followFrames(state, event, effects);
      return;
    case 'stored':
      framesStored(state, event, effects);
      return;
    case 'recovered':
      recovered(state, event.length, event.baseOffset);
      return;
    case 'fence':
      fence(state, event.epoch, effects);
      return;
    case 'close':
      close(state, effects);
      return;
    case 'freeze':
      freeze(state, effects);
      return;
    case 'unfreeze':
      unfreeze(state, effects);
      return;
    case 'sealed':
      sealed(state, event.length, effects);
      return;
    case 'holdExpired':
      expireHeld(state, nowMs, effects);
      return;
    default:
      unreachable(event);
  }
}

/** Whether an order to lead may be obeyed: at most once, never after a fence, only from the start. */
export function canActivate(state: ReplicaState): boolean {
  const { role, fencedEpoch, identity, length, sealedLength } = state;
  if (role !== 'prepared' || sealedLength !== undefined) return false;
  return fencedEpoch <= identity.epoch && length === 0;
}

/**
 * Whether frames of another replica may be put behind the log for the seal with this epoch: it is fenced,
 * with no higher one, and has no end yet.
 */
export function canRecover(state: ReplicaState, epoch: number): boolean {
  const { fencedEpoch, identity, sealedLength, role } = state;
  if (role === 'leader' || sealedLength !== undefined) return false;
  return fencedEpoch > identity.epoch && epoch >= fencedEpoch;
}

function recovered(state: ReplicaState, length: number, baseOffset: number): void {
  assert(canRecover(state, state.fencedEpoch), 'only a fenced replica is completed');
  assert(length >= state.length, 'a log never gets shorter by what is copied (I4)');
  state.length = length;
  state.baseOffset ??= baseOffset;
}

function snapshotWritten({ leading }: ReplicaState): void {
  assert(leading !== undefined, 'only a leader writes snapshots');
  leading.isSnapshotDue = false;
  leading.bytesSinceSnapshot = 0;
  leading.producers.snapshotWritten();
}

function localDurable(state: ReplicaState, durableLength: number, effects: ReplicaEffect[]): void {
  durableAt(state, state.identity.selfIndex, durableLength, effects);
  if (state.role === 'follower' && state.fencedEpoch <= state.identity.epoch) {
    effects.push({ kind: 'confirm', durableLength });
  }
}

/** A replica's durable length has grown; perhaps more is committed. */
function durableAt(
  state: ReplicaState,
  replicaIndex: number,
  durableLength: number,
  effects: ReplicaEffect[],
): void {
  const { match, length, role } = state;
  const before = match[replicaIndex];
  assert(before !== undefined, 'only members of the replica set confirm');
  assert(durableLength <= length, 'no replica is longer than its leader');
  if (durableLength <= before) return;
  match[replicaIndex] = durableLength;
  // A fenced leader must commit nothing more: somebody is measuring the end (I5).
  if (role !== 'leader') return;
  const committed = committedLength(match, state.identity.ackQuorum);
  assert(committed <= length, 'nothing is committed that is not in the log (I6)');
  if (committed > state.commitLength) {
    state.commitLength = committed;
    effects.push({ kind: 'readable' });
  }
  drainAnswers(state, effects);
  tellDrained(state, effects);
}

function tellDrained(
  { leading, commitLength, length }: ReplicaState,
  effects: ReplicaEffect[],
): void {
  if (leading?.isFrozen === true && commitLength === length) effects.push({ kind: 'drained' });
}

function fence(state: ReplicaState, epoch: number, effects: ReplicaEffect[]): void {
  assert(epoch >= state.fencedEpoch, 'a fence never goes down (I11)');
  state.fencedEpoch = epoch;
  if (epoch > state.identity.epoch && state.role === 'leader') close(state, effects);
}

/** The leader steps down for good. What is in the log but not committed: nobody knows (docs/journal.md, 2.3). */
function close(state: ReplicaState, effects: ReplicaEffect[]): void {
  if (state.role !== 'leader') return;
  state.role = 'closed';
  const { segmentId } = state.identity;
  const error = new OperatingError(
    'INDETERMINATE',
    `segment ${segmentId} was taken from its leader before the append was committed; try again with the same sequence`,
  );
  takeWaiting(state, (append) => effects.push({ kind: 'refuse', append, error }));
  rerouteUnwritten(state, effects);
  effects.push({ kind: 'closed' });
}

function rerouteUnwritten({ leading }: ReplicaState, effects: ReplicaEffect[]): void {
  if (leading === undefined) return;
  const { queued, held } = leading;
  leading.queued = [];
  for (const append of queued) effects.push({ kind: 'reroute', append });
  for (const appends of held.values()) {
    for (const append of appends) effects.push({ kind: 'reroute', append });
  }
  held.clear();
}

function freeze(state: ReplicaState, effects: ReplicaEffect[]): void {
  if (state.role !== 'leader' || state.leading === undefined || state.leading.isFrozen) return;
  state.leading.isFrozen = true;
  tellDrained(state, effects);
}

/** The leader goes on: what came meanwhile is decided on, in order. */
function unfreeze({ role, leading }: ReplicaState, effects: ReplicaEffect[]): void {
  if (role !== 'leader' || leading?.isFrozen !== true) return;
  leading.isFrozen = false;
  const { queued } = leading;
  leading.queued = [];
  for (const append of queued) effects.push({ kind: 'reroute', append });
}

/** The end is known and never changes. A leader learns of it when its roll has succeeded. */
function sealed(state: ReplicaState, length: number, effects: ReplicaEffect[]): void {
  if (state.sealedLength !== undefined) {
    assert(state.sealedLength === length, 'the end of a segment never changes (I3)');
    return;
  }
  assert(length >= state.commitLength, 'a seal keeps everything that was committed (I1)');
  const wasLeader = state.role === 'leader';
  state.sealedLength = length;
  state.isCut = length < state.length;
  state.length = Math.min(state.length, length);
  state.commitLength = state.length;
  const { match, identity } = state;
  match[identity.selfIndex] = Math.min(match[identity.selfIndex] ?? 0, state.length);
  if (wasLeader) {
    drainAnswers(state, effects);
    close(state, effects);
  } else {
    state.role = 'closed';
    effects.push({ kind: 'closed' });
  }
}
