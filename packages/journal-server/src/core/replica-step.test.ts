import { OperatingError } from '@robustmq/core';
import { describe, expect, it } from 'vitest';
import { CoreFixture, facts, newProducers, pending, produced } from './core.fixture.ts';
import type { AckLevel } from './pending-append.ts';
import type { ReplicaEffect, ReplicaEvent } from './replica-event.ts';
import { type ReplicaRole, replicaState, type StoredState } from './replica-state.ts';
import { testReplicaLimits } from './core.fixture.ts';
import { canActivate, step } from './replica-step.ts';

const fresh: StoredState = {
  baseOffset: undefined,
  fencedEpoch: 0,
  length: 0,
  durableLength: 0,
  sealedLength: undefined,
  wasActivated: false,
};
const identity = {
  shardId: 1,
  segmentId: 'b'.repeat(32),
  epoch: 5,
  replicaCount: 3,
  selfIndex: 0,
  ackQuorum: 2,
};

function run(
  stored: StoredState,
  ...events: ReplicaEvent[]
): { role: ReplicaRole; effects: string[]; state: ReturnType<typeof replicaState> } {
  const state = replicaState(identity, testReplicaLimits, stored);
  const effects: ReplicaEffect[] = [];
  for (const event of events) step(state, event, 0, effects);
  return { role: state.role, effects: effects.map(({ kind }) => kind), state };
}

const activate = (): ReplicaEvent => ({
  kind: 'activate',
  baseOffset: 10,
  producers: newProducers(),
});
const replicate = (change: object = {}): ReplicaEvent => ({
  kind: 'replicate',
  epoch: 5,
  baseOffset: 10,
  previousLength: 0,
  records: 2,
  ...change,
});
const stored = (length = 2, commitLength = 0): ReplicaEvent => ({
  kind: 'stored',
  length,
  commitLength,
});

describe('roles', () => {
  it.each<[string, StoredState, ReplicaEvent[], ReplicaRole, string[]]>([
    ['prepared', fresh, [], 'prepared', []],
    ['prepared → leader', fresh, [activate()], 'leader', []],
    ['led before → closed', { ...fresh, wasActivated: true }, [], 'closed', []],
    ['sealed → closed', { ...fresh, sealedLength: 0 }, [], 'closed', []],
    ['prepared → follower', fresh, [replicate()], 'follower', ['store']],
    ['leader, fenced', fresh, [activate(), { kind: 'fence', epoch: 6 }], 'closed', ['closed']],
    ['leader, fenced below', fresh, [activate(), { kind: 'fence', epoch: 5 }], 'leader', []],
    ['leader, chain gone on', fresh, [activate(), { kind: 'close' }], 'closed', ['closed']],
    ['leader, sealed', fresh, [activate(), { kind: 'sealed', length: 0 }], 'closed', ['closed']],
    ['prepared, sealed', fresh, [{ kind: 'sealed', length: 0 }], 'closed', ['closed']],
    ['prepared, fenced', fresh, [{ kind: 'fence', epoch: 9 }], 'prepared', []],
    ['leader, frozen while empty', fresh, [activate(), { kind: 'freeze' }], 'leader', ['drained']],
    ['leader, frames of another', fresh, [activate(), replicate()], 'leader', ['rejectFrames']],
    [
      'follower, fenced',
      fresh,
      [replicate(), stored(), { kind: 'fence', epoch: 6 }, replicate({ previousLength: 2 })],
      'follower',
      ['store', 'rejectFrames'],
    ],
    [
      'follower, a gap',
      fresh,
      [replicate(), stored(), replicate({ previousLength: 3 })],
      'follower',
      ['store', 'rejectFrames'],
    ],
  ])('%s', (_name, stored, events, role, effects) => {
    expect(run(stored, ...events)).toMatchObject({ role, effects });
  });

  it.each<[string, StoredState, ReplicaEvent[], boolean]>([
    ['a fresh replica', fresh, [], true],
    ['one that is led', fresh, [activate()], false],
    ['one that was led', fresh, [activate(), { kind: 'close' }], false],
    ['one that another incarnation led', { ...fresh, wasActivated: true }, [], false],
    ['a fenced one', fresh, [{ kind: 'fence', epoch: 6 }], false],
    ['one with records', { ...fresh, length: 1 }, [], false],
    ['a sealed one', fresh, [{ kind: 'sealed', length: 0 }], false],
  ])('%s may be activated: see the table', (_name, stored, events, expected) => {
    expect(canActivate(run(stored, ...events).state)).toBe(expected);
  });

  it('a follower confirms what is durable, and follows the commit as far as its log reaches', () => {
    const { state, effects } = run(fresh, replicate(), stored(2, 9), {
      kind: 'localDurable',
      durableLength: 2,
    });
    expect(effects).toEqual(['store', 'readable', 'confirm']);
    expect(state.commitLength).toBe(2);
  });

  it('a fenced follower confirms nothing (I5)', () => {
    const { effects } = run(
      fresh,
      replicate(),
      stored(),
      { kind: 'fence', epoch: 6 },
      { kind: 'localDurable', durableLength: 2 },
    );
    expect(effects).toEqual(['store']);
  });

  it.each<[string, ReplicaEvent[]]>([
    ['a second activation', [activate(), activate()]],
    [
      'a fence that goes down',
      [
        { kind: 'fence', epoch: 6 },
        { kind: 'fence', epoch: 5 },
      ],
    ],
    [
      'two ends',
      [
        { kind: 'sealed', length: 0 },
        { kind: 'sealed', length: 1 },
      ],
    ],
    ['a durable length beyond the log', [activate(), { kind: 'localDurable', durableLength: 1 }]],
  ])('%s is a bug', (_name, events) => {
    expect(() => run(fresh, ...events)).toThrow();
  });
});

describe('commits', () => {
  const levels: AckLevel[] = ['none', 'leader', 'quorum', 'all'];
  const three = { replicaCount: 3, ackQuorum: 2 };

  function answers(core: CoreFixture, appends: ReturnType<typeof pending>[]): string[] {
    return appends.map((append) => core.answer(append) ?? 'waits');
  }

  it('answer each level when it has got so far', () => {
    const core = new CoreFixture(three);
    const appends = levels.map((ackLevel) => core.append(pending(facts(), { ackLevel })));
    expect(answers(core, appends)).toEqual(['ok', 'waits', 'waits', 'waits']);
    core.sync();
    expect(answers(core, appends)).toEqual(['ok', 'ok', 'waits', 'waits']);
    expect(core.state.commitLength).toBe(0);
    core.run({ kind: 'replicateAck', replicaIndex: 2, epoch: 5, durableLength: 4 });
    expect(answers(core, appends)).toEqual(['ok', 'ok', 'ok', 'waits']);
    core.run({ kind: 'replicateAck', replicaIndex: 1, epoch: 5, durableLength: 4 });
    expect(answers(core, appends)).toEqual(['ok', 'ok', 'ok', 'ok']);
  });

  it('count no confirmation of another epoch', () => {
    const core = new CoreFixture(three);
    core.append(pending(facts()));
    core.sync();
    core.run({ kind: 'replicateAck', replicaIndex: 1, epoch: 4, durableLength: 1 });
    expect(core.state.commitLength).toBe(0);
  });

  it('come to an end with a fence: what waits is INDETERMINATE, later confirmations count nothing', () => {
    const core = new CoreFixture();
    const append = core.append(pending(facts()));
    core.run({ kind: 'fence', epoch: 6 });
    expect(core.answer(append)).toBe('INDETERMINATE');
    core.sync();
    expect(core.state.commitLength).toBe(0);
    expect(core.answer(core.append(pending(facts())))).toBe('NOT_LEADER');
  });

  it('are told to readers once for each advance', () => {
    const core = new CoreFixture();
    core.append(pending(facts()));
    core.append(pending(facts({ records: 3 })));
    core.sync();
    core.sync();
    expect(core.seen.filter((kind) => kind === 'readable')).toHaveLength(1);
    expect(core.state.commitLength).toBe(4);
  });
});

describe('appends', () => {
  it('that the storage refuses change nothing', () => {
    const core = new CoreFixture();
    core.refuseWrites = new OperatingError('DISK_FULL', 'full');
    expect(core.answer(core.append(pending(produced(0))))).toBe('DISK_FULL');
    core.refuseWrites = undefined;
    core.append(pending(produced(0)));
    expect(core.state.length).toBe(1);
  });

  it('that wait while frozen go on in order, or elsewhere when the segment was sealed', () => {
    const core = new CoreFixture();
    core.append(pending(facts()));
    core.run({ kind: 'freeze' });
    expect(core.seen).not.toContain('drained');
    const queued = [core.append(pending(facts())), core.append(pending(facts()))];
    core.sync();
    expect(core.seen).toContain('drained');
    core.run({ kind: 'unfreeze' });
    expect(queued.map(({ baseOffset }) => baseOffset)).toEqual([101, 102]);
    core.sync();
    core.run({ kind: 'freeze' });
    const late = core.append(pending(facts()));
    core.run({ kind: 'sealed', length: 3 });
    // The fixture gives it to the same leader, which is none any more.
    expect(core.answer(late)).toBe('NOT_LEADER');
  });

  it('get a snapshot of the producers before the first, and then each so many bytes', () => {
    const producers = newProducers();
    producers.fold(produced(0), 0, 0, 0);
    const core = new CoreFixture({ producers });
    for (let batch = 0; batch < 21; batch++) core.append(pending(facts()));
    expect(core.snapshots).toBe(3);
    const empty = new CoreFixture();
    for (let batch = 0; batch < 21; batch++) empty.append(pending(facts()));
    expect(empty.snapshots).toBe(0);
  });

  it('of an epoch that is not meant are refused', () => {
    const core = new CoreFixture();
    expect(core.answer(core.append(pending(facts(), { expectedEpoch: 4 })))).toBe('NOT_LEADER');
    core.append(pending(facts(), { expectedEpoch: 5 }));
    expect(core.state.length).toBe(1);
  });

  it('that are early: five are held, the sixth is refused, and the first in order releases them', () => {
    const core = new CoreFixture();
    core.append(pending(produced(0)));
    const held = [5, 2, 4, 3, 6].map((sequence) => core.append(pending(produced(sequence))));
    expect(core.answer(core.append(pending(produced(7))))).toBe('OUT_OF_ORDER_SEQUENCE');
    core.append(pending(produced(1)));
    core.sync();
    expect(held.map((append) => core.answer(append))).toEqual(['ok', 'ok', 'ok', 'ok', 'ok']);
    const order = core.written.map((append) => append.facts.baseSequence);
    expect(order).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });

  it('that are early twice become one record', () => {
    const core = new CoreFixture();
    core.append(pending(produced(0)));
    const twice = [core.append(pending(produced(2))), core.append(pending(produced(2)))];
    core.append(pending(produced(1)));
    core.sync();
    expect(twice.map((append) => core.answer(append))).toEqual(['ok', 'duplicate']);
    expect(core.state.length).toBe(3);
  });
});
