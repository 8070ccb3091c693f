import type { BatchFacts } from './batch-facts.ts';
import type { PendingAppend } from './pending-append.ts';
import { type ProducerLimits, ProducerState } from './producer-state.ts';
import type { ReplicaEffect, ReplicaEvent } from './replica-event.ts';
import { type ReplicaLimits, replicaState, type ReplicaState } from './replica-state.ts';
import { step } from './replica-step.ts';

export const testProducerLimits: ProducerLimits = {
  entriesPerShardMax: 100,
  idleExpiryMs: 86_400_000,
  protectedMs: 900_000,
};

export const testReplicaLimits: ReplicaLimits = {
  earlyHoldMs: 500,
  earlyBatchesMax: 5,
  snapshotEachBytes: 1_000,
  snapshotEachForgotten: 10,
};

export function facts(change: Partial<BatchFacts> = {}): BatchFacts {
  return {
    records: 1,
    producerId: -1,
    producerEpoch: -1,
    baseSequence: -1,
    isTransactional: false,
    isControl: false,
    control: 'none',
    coordinatorEpoch: -1,
    writerEpoch: 0,
    ...change,
  };
}

/** Facts of batch `sequence` of producer 7. */
export function produced(sequence: number, change: Partial<BatchFacts> = {}): BatchFacts {
  return facts({ producerId: 7, producerEpoch: 0, baseSequence: sequence, ...change });
}

export function newProducers(limits: Partial<ProducerLimits> = {}, max = 1_000): ProducerState {
  return new ProducerState({ ...testProducerLimits, ...limits }, { used: 0, max });
}

export function pending(
  of: BatchFacts,
  change: Partial<Pick<PendingAppend, 'ackLevel' | 'expectedEpoch'>> = {},
): PendingAppend {
  return {
    facts: of,
    ackLevel: 'quorum',
    expectedEpoch: 0,
    baseOffset: -1,
    appendTimeMs: 0,
    isDuplicate: false,
    endLength: 0,
    heldUntilMs: 0,
    ...change,
  };
}

export interface CoreFixtureOptions {
  readonly replicaCount?: number;
  readonly ackQuorum?: number;
  readonly baseOffset?: number;
  readonly producers?: ProducerState;
}

/** What became of an append, in words. */
export type Answer = string;

/** A leader with a shell that writes at once, and remembers what it was asked to do. */
export class CoreFixture {
  readonly state: ReplicaState;
  readonly answers = new Map<PendingAppend, Answer>();
  readonly seen: ReplicaEffect['kind'][] = [];
  readonly written: PendingAppend[] = [];
  snapshots = 0;
  nowMs = 0;
  refuseWrites: Error | undefined;

  constructor(options: CoreFixtureOptions = {}) {
    const { replicaCount = 1, ackQuorum = 1, baseOffset = 100 } = options;
    const identity = {
      shardId: 1,
      segmentId: 'a'.repeat(32),
      epoch: 5,
      replicaCount,
      selfIndex: 0,
      ackQuorum,
    };
    const stored = {
      baseOffset: undefined,
      fencedEpoch: 0,
      length: 0,
      durableLength: 0,
      sealedLength: undefined,
      wasActivated: false,
    };
    this.state = replicaState(identity, testReplicaLimits, stored);
    const producers = options.producers ?? newProducers();
    this.run({ kind: 'activate', baseOffset, producers });
  }

  run(event: ReplicaEvent): void {
    const effects: ReplicaEffect[] = [];
    step(this.state, event, this.nowMs, effects);
    for (const effect of effects) this.#execute(effect);
  }

  append(append: PendingAppend): PendingAppend {
    this.run({ kind: 'append', append });
    return append;
  }

  /** Everything in the log is durable here. */
  sync(): void {
    this.run({ kind: 'localDurable', durableLength: this.state.length });
  }

  answer(append: PendingAppend): Answer | undefined {
    return this.answers.get(append);
  }

  #execute(effect: ReplicaEffect): void {
    this.seen.push(effect.kind);
    switch (effect.kind) {
      case 'write':
        this.#write(effect.append, effect.isSnapshotDue);
        return;
      case 'acknowledge':
        this.#answer(effect.append, effect.append.isDuplicate ? 'duplicate' : 'ok');
        return;
      case 'refuse':
        this.#answer(effect.append, effect.error.code);
        return;
      case 'notLeader':
        this.#answer(effect.append, 'NOT_LEADER');
        return;
      case 'reroute':
        this.append(effect.append);
        return;
      default:
    }
  }

  #write(append: PendingAppend, isSnapshotDue: boolean): void {
    if (this.refuseWrites !== undefined) {
      this.run({ kind: 'writeRefused', error: this.refuseWrites as never });
      return;
    }
    if (isSnapshotDue) {
      this.snapshots++;
      this.run({ kind: 'snapshotWritten' });
    }
    append.appendTimeMs = this.nowMs;
    this.written.push(append);
    this.run({ kind: 'written', frameBytes: 100 });
  }

  #answer(append: PendingAppend, answer: Answer): void {
    if (this.answers.has(append)) throw new Error('an append was answered twice');
    this.answers.set(append, answer);
  }
}
