import { assert, type OperatingError, unreachable } from '@robustmq/core';
import type { PendingAppend } from './pending-append.ts';
import { outOfOrder } from './producer-state.ts';
import type { ReplicaEffect } from './replica-event.ts';
import type { Leading, ReplicaState } from './replica-state.ts';
import { sequenceDistance } from './sequence.ts';

/** Decides on a new append (docs/journal.md, sections 2.3 and 2.9). */
export function admit(
  state: ReplicaState,
  append: PendingAppend,
  nowMs: number,
  effects: ReplicaEffect[],
): void {
  const leading = leadingFor(state, append);
  if (leading === undefined) {
    effects.push({ kind: 'notLeader', append });
    return;
  }
  assert(leading.writing === undefined, 'a write is answered before anything else happens');
  if (leading.isFrozen) {
    leading.queued.push(append);
    effects.push({ kind: 'keep', append, untilMs: undefined });
    return;
  }
  const judgement = leading.producers.judge(append.facts, nowMs);
  switch (judgement.kind) {
    case 'append':
      write(state, leading, append, effects);
      return;
    case 'duplicate':
      append.isDuplicate = true;
      append.baseOffset = judgement.batch.baseOffset;
      append.appendTimeMs = judgement.batch.appendTimeMs;
      answer(state, leading, append, effects);
      return;
    case 'early':
      if (!judgement.isKnown && hasWaited(append, nowMs)) write(state, leading, append, effects);
      else hold(state, leading, append, nowMs, effects);
      return;
    case 'refuse':
      effects.push({ kind: 'refuse', append, error: judgement.error });
  }
}

/** Whether the append was held for its whole time already. */
function hasWaited(append: PendingAppend, nowMs: number): boolean {
  return append.heldUntilMs > 0 && append.heldUntilMs <= nowMs;
}

function leadingFor(state: ReplicaState, append: PendingAppend): Leading | undefined {
  const { role, fencedEpoch, identity, leading } = state;
  if (role !== 'leader' || fencedEpoch > identity.epoch) return undefined;
  if (append.expectedEpoch !== 0 && append.expectedEpoch !== identity.epoch) return undefined;
  return leading;
}

function write(
  state: ReplicaState,
  leading: Leading,
  append: PendingAppend,
  effects: ReplicaEffect[],
): void {
  append.baseOffset = baseOf(state) + state.length;
  leading.writing = append;
  effects.push({ kind: 'write', append, isSnapshotDue: leading.isSnapshotDue });
}

/** The frame is in the log: from here on it counts. */
export function written(
  state: ReplicaState,
  frameBytes: number,
  nowMs: number,
  effects: ReplicaEffect[],
): void {
  const { leading, limits } = state;
  const append = leading?.writing;
  assert(leading !== undefined && append !== undefined, 'only an asked write is answered');
  const { producers } = leading;
  leading.writing = undefined;
  state.length += append.facts.records;
  producers.fold(append.facts, append.baseOffset, append.appendTimeMs, nowMs);
  leading.bytesSinceSnapshot += frameBytes;
  if (!producers.isEmpty && leading.bytesSinceSnapshot >= limits.snapshotEachBytes) {
    leading.isSnapshotDue = true;
  }
  if (producers.forgotten >= limits.snapshotEachForgotten) leading.isSnapshotDue = true;
  answer(state, leading, append, effects);
  if (leading.held.size > 0) releaseHeld(state, leading, append.facts.producerId, nowMs, effects);
}

export function writeRefused(
  state: ReplicaState,
  error: OperatingError,
  effects: ReplicaEffect[],
): void {
  const append = state.leading?.writing;
  assert(state.leading !== undefined && append !== undefined, 'only an asked write is answered');
  state.leading.writing = undefined;
  effects.push({ kind: 'refuse', append, error });
}

/** Answers an append that is in the log, now or when enough replicas have it on disk. */
function answer(
  state: ReplicaState,
  leading: Leading,
  append: PendingAppend,
  effects: ReplicaEffect[],
): void {
  append.endLength = append.baseOffset + append.facts.records - baseOf(state);
  if (append.ackLevel === 'none' || isAnswerable(state, append)) {
    effects.push({ kind: 'acknowledge', append });
    return;
  }
  queueFor(leading, append).push(append);
}

/** A duplicate may be: whatever is before it in the log has been answered then, too. */
function isAnswerable(state: ReplicaState, append: PendingAppend): boolean {
  // It lies in an earlier segment, which is sealed.
  if (append.endLength <= 0) return true;
  switch (append.ackLevel) {
    case 'none':
      return true;
    case 'leader':
      return append.endLength <= localLength(state);
    case 'quorum':
      return append.endLength <= state.commitLength;
    case 'all':
      return append.endLength <= Math.min(...state.match);
    default:
      return unreachable(append.ackLevel);
  }
}

function queueFor(leading: Leading, append: PendingAppend): Leading['waitingLocal'] {
  if (append.ackLevel === 'leader') return leading.waitingLocal;
  return append.ackLevel === 'all' ? leading.waitingAll : leading.waitingQuorum;
}

/** Answers everything that has got far enough: in order for each level. */
export function drainAnswers(state: ReplicaState, effects: ReplicaEffect[]): void {
  const { leading, match, commitLength } = state;
  if (leading === undefined) return;
  drain(leading.waitingLocal, localLength(state), effects);
  drain(leading.waitingQuorum, commitLength, effects);
  if (leading.waitingAll.size > 0) drain(leading.waitingAll, Math.min(...match), effects);
}

function drain(queue: Leading['waitingLocal'], length: number, effects: ReplicaEffect[]): void {
  let append = queue.takeWithin(length);
  for (; append !== undefined; append = queue.takeWithin(length)) {
    effects.push({ kind: 'acknowledge', append });
  }
}

/** Takes out everything that waits for its commit. */
export function takeWaiting(state: ReplicaState, visit: (append: PendingAppend) => void): void {
  const { leading } = state;
  if (leading === undefined) return;
  for (const queue of [leading.waitingLocal, leading.waitingQuorum, leading.waitingAll]) {
    for (let append = queue.take(); append !== undefined; append = queue.take()) visit(append);
  }
}

/** Waits for the batches before it: they may be under way through another broker. */
function hold(
  state: ReplicaState,
  leading: Leading,
  append: PendingAppend,
  nowMs: number,
  effects: ReplicaEffect[],
): void {
  const { earlyHoldMs, earlyBatchesMax } = state.limits;
  const { producerId } = append.facts;
  const held = leading.held.get(producerId) ?? [];
  if (held.length >= earlyBatchesMax) {
    const error = outOfOrder(append.facts, undefined);
    effects.push({ kind: 'refuse', append, error });
    return;
  }
  append.heldUntilMs = nowMs + earlyHoldMs;
  held.push(append);
  leading.held.set(producerId, held);
  effects.push({ kind: 'keep', append, untilMs: append.heldUntilMs });
}

/** A batch of the producer was written: the first held one that is early no more goes on. */
function releaseHeld(
  state: ReplicaState,
  leading: Leading,
  producerId: number,
  nowMs: number,
  effects: ReplicaEffect[],
): void {
  const held = leading.held.get(producerId);
  if (held === undefined) return;
  let index = 0;
  while (index < held.length) {
    const append = held[index];
    assert(append !== undefined, 'the index lies within the list');
    if (leading.producers.judge(append.facts, nowMs).kind === 'early') {
      index++;
      continue;
    }
    held.splice(index, 1);
    if (held.length === 0) leading.held.delete(producerId);
    admit(state, append, nowMs, effects);
    // Its `written` comes here again for the others.
    if (leading.writing !== undefined) return;
  }
}

/**
 * Those whose time is over are refused. Of a producer that is not known the lowest sequence is taken
 * after all, as Kafka does: its entry may have expired. The others follow it.
 */
export function expireHeld(state: ReplicaState, nowMs: number, effects: ReplicaEffect[]): void {
  const { leading } = state;
  if (leading === undefined) return;
  for (const [producerId, held] of leading.held) {
    if (!held.some((append) => append.heldUntilMs <= nowMs)) continue;
    const isKnown = leading.producers.entry(producerId) !== undefined;
    const rest = isKnown ? refuseExpired(held, nowMs, effects) : takeLowest(held, nowMs, effects);
    if (rest.length === 0) leading.held.delete(producerId);
    else leading.held.set(producerId, rest);
  }
}

function refuseExpired(
  held: readonly PendingAppend[],
  nowMs: number,
  effects: ReplicaEffect[],
): PendingAppend[] {
  for (const append of held) {
    if (append.heldUntilMs > nowMs) continue;
    effects.push({ kind: 'refuse', append, error: outOfOrder(append.facts, undefined) });
  }
  return held.filter((append) => append.heldUntilMs > nowMs);
}

function takeLowest(
  held: readonly PendingAppend[],
  nowMs: number,
  effects: ReplicaEffect[],
): PendingAppend[] {
  const lowest = held.reduce((left, right) =>
    sequenceDistance(left.facts.baseSequence, right.facts.baseSequence) < 0 ? right : left,
  );
  lowest.heldUntilMs = nowMs;
  effects.push({ kind: 'reroute', append: lowest });
  return held.filter((append) => append !== lowest);
}

function localLength(state: ReplicaState): number {
  return state.match[state.identity.selfIndex] ?? 0;
}

function baseOf(state: ReplicaState): number {
  assert(state.baseOffset !== undefined, 'a leader knows the base of its segment');
  return state.baseOffset;
}
