import {
  assert,
  type Clock,
  type Logger,
  type Offset,
  OperatingError,
  TimerWheel,
} from '@robustmq/core';
import type { JournalClient } from '@robustmq/journal-client';
import type { OutboxOutcome } from '../outbox/outbox.ts';
import { encodeConfirmations, encodeProducerId } from '../outbox/outbox-record.ts';
import { OutboxSender, type OutboxSenderOwner } from '../outbox/outbox-sender.ts';
import type { OutboxTarget } from '../outbox/outbox-state.ts';
import { CoordinatorLog, type CoordinatorLogOwner } from './coordinator-log.ts';
import type { CoordinatorIdentity, ServingContext } from './machine-context.ts';
import type { MachineState } from './machine-state.ts';
import { OpenReply } from './open-reply.ts';
import { type SnapshotPolicy, SnapshotWriter } from './snapshot-writer.ts';
import type { Caller, MachineTimer, Reply } from './state-machine.ts';

/** What a takeover has led to. */
export interface TakenOver {
  readonly state: MachineState;
  /** Producer id of this ownership; its takeover record had the sequence 0. */
  readonly producerId: number;
  /** Producer id for the outbox if it has none; else undefined. */
  readonly outboxProducerId: number | undefined;
  readonly nextOffset: Offset;
  readonly bytesSinceSnapshot: number;
  readonly snapshotBytes: number;
}

export interface ServingOptions {
  readonly identity: CoordinatorIdentity;
  readonly taken: TakenOver;
  readonly journal: Pick<JournalClient, 'appendBatch'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly snapshotPolicy: SnapshotPolicy;
  readonly nodeAlive: (nodeId: string, incarnation: number) => boolean;
  readonly notify: (nodeId: string, payload: Buffer) => void;
  /** Nothing before `firstOffset` is needed any more. */
  readonly trim: (firstOffset: Offset) => void;
  /** An append has failed: the coordinator has to be stopped. */
  readonly failed: (error: OperatingError) => void;
}

/** How old the proof of an answer that must be the newest may be. */
const proofAgeMaxMs = 1000;
/** What a caller waits before it tries again when the log is full. */
const fullRetryMs = 50;

/** Runs a machine whose state is complete: the middle of a coordinator's life. */
export class ServingCoordinator implements ServingContext, CoordinatorLogOwner, OutboxSenderOwner {
  readonly #options: ServingOptions;
  readonly #state: MachineState;
  readonly #log: CoordinatorLog;
  readonly #timers: TimerWheel;
  readonly #sender: OutboxSender;
  readonly #snapshots: SnapshotWriter;
  readonly #replies = new Set<OpenReply>();
  /** Calls of the runtime into the machine that are under way, one inside the other. */
  #depth = 0;
  #isStopped = false;

  constructor(options: ServingOptions) {
    const { taken, identity, journal, clock, logger } = options;
    this.#options = options;
    this.#state = taken.state;
    this.#timers = new TimerWheel(clock);
    this.#log = new CoordinatorLog({
      journal,
      clock,
      shardId: identity.shardId,
      writerEpoch: identity.epoch,
      producerId: taken.producerId,
      nextSequence: 1,
      nextOffset: taken.nextOffset,
      owner: this,
    });
    this.#sender = new OutboxSender({ journal, logger, timers: this.#timers, owner: this });
    this.#snapshots = new SnapshotWriter({
      log: this.#log,
      state: this.#state,
      clock,
      policy: options.snapshotPolicy,
      restored: taken,
      finished: (firstOffset) => this.#snapshotFinished(firstOffset),
    });
  }

  /** The machine may use its context now. */
  start(): void {
    const { outboxProducerId } = this.#options.taken;
    if (outboxProducerId !== undefined) {
      this.#append('outbox-producer', encodeProducerId(outboxProducerId));
    }
    this.#call(() => this.#state.machine.started());
    for (const target of this.#state.outbox.targets()) this.#sender.send(target);
    this.#snapshots.poke();
  }

  /** Carries out a command; an error says why it was not taken, and `sink` is not called then. */
  command(payload: Buffer, caller: Caller, sink: Reply): OperatingError | undefined {
    if (this.#log.full) return this.#fullError();
    const reply = new OpenReply(sink, this.#log, this.#replies);
    try {
      this.#call(() => this.#state.machine.command(payload, caller, reply));
    } catch (thrown) {
      if (!(thrown instanceof OperatingError)) throw thrown;
      reply.fail(thrown);
    }
    return undefined;
  }

  nodeGone(nodeId: string, incarnation: number): void {
    this.#call(() => this.#state.machine.nodeGone?.(nodeId, incarnation));
  }

  /** Resolves when everything is committed and a snapshot that was due is made, or it was stopped. */
  async flush(): Promise<void> {
    this.#call(() => this.#state.machine.draining?.());
    this.confirmNow();
    await this.#allCommitted();
    await this.#snapshots.idle();
    await this.#allCommitted();
  }

  #allCommitted(): Promise<void> {
    return new Promise((resolve) => {
      this.#log.afterCommit({ committed: () => resolve(), abandoned: () => resolve() });
    });
  }

  /** Answers everything that waits with `error` and drops the machine. */
  stop(error: OperatingError): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#timers.clear();
    this.#sender.stop();
    this.#snapshots.stop();
    this.#log.stop(error);
    for (const reply of this.#replies) reply.abandoned(error);
    this.#state.machine.stopped();
  }

  /** Resolves when the journal has answered every append of this ownership. */
  idle(): Promise<void> {
    return this.#log.idle();
  }

  // ServingContext

  get full(): boolean {
    return this.#log.full;
  }

  propose(record: Buffer): Offset {
    assert(!this.#state.isApplying, 'nothing is proposed while a record is applied');
    return this.#append('machine', record);
  }

  afterCommit(callback: () => void): void {
    this.#log.afterCommit({ committed: () => this.#call(callback), abandoned: () => {} });
  }

  notify(nodeId: string, payload: Buffer): void {
    if (this.#isStopped) return;
    this.#log.afterCommit({
      committed: () => this.#options.notify(nodeId, payload),
      abandoned: () => {},
    });
  }

  fresh(onFresh: () => void): void {
    if (this.#isStopped) return;
    const ageMs = this.#options.clock.monotonicMs() - this.#log.lastProofMs;
    if (ageMs <= proofAgeMaxMs) this.#call(onFresh);
    else this.#log.afterProof({ committed: () => this.#call(onFresh), abandoned: () => {} });
  }

  timer(fire: () => void): MachineTimer {
    const timer = this.#timers.timer(() => this.#call(fire));
    return {
      set: (delayMs) => {
        if (!this.#isStopped) timer.set(delayMs);
      },
      cancel: () => timer.cancel(),
    };
  }

  nodeAlive(nodeId: string, incarnation: number): boolean {
    return this.#options.nodeAlive(nodeId, incarnation);
  }

  requestSnapshot(): void {
    this.#snapshots.request();
  }

  // CoordinatorLogOwner

  closing(): void {
    this.#appendConfirmations();
  }

  closed(endOffset: Offset): void {
    const targets = this.#state.batchEnd(endOffset);
    if (targets.length > 0) this.#sendAfterCommit(targets);
    this.#snapshots.poke();
  }

  failed(error: OperatingError): void {
    this.#options.failed(error);
  }

  // OutboxSenderOwner

  get committedOffset(): number {
    return this.#log.committedOffset;
  }

  delivered(tag: Buffer, outcome: OutboxOutcome): void {
    this.#call(() => this.#state.machine.outboxDelivered?.(tag, outcome));
  }

  confirmNow(): void {
    if (this.#isStopped) return;
    this.#log.boundary();
    this.#appendConfirmations();
  }

  /** A call of the runtime into the machine: what it proposes is one batch. */
  #call(into: () => void): void {
    if (this.#isStopped) return;
    if (this.#depth === 0) this.#log.boundary();
    this.#depth++;
    try {
      into();
    } finally {
      this.#depth--;
    }
  }

  #append(kind: 'machine' | 'outbox-producer' | 'outbox-confirm', value: Buffer): Offset {
    const at = this.#log.append(kind, value);
    this.#state.apply(kind, value, at);
    return at;
  }

  #appendConfirmations(): void {
    const confirmations = this.#sender.takeConfirmations();
    if (confirmations.length === 0) return;
    this.#append('outbox-confirm', encodeConfirmations(confirmations));
    this.#sender.confirmed(confirmations);
  }

  #sendAfterCommit(targets: readonly OutboxTarget[]): void {
    this.#log.afterCommit({
      committed: () => {
        for (const target of targets) this.#sender.send(target);
      },
      abandoned: () => {},
    });
  }

  #snapshotFinished(firstOffset: Offset): void {
    this.#options.trim(firstOffset);
    this.#call(() => this.#state.machine.snapshotFinished?.());
  }

  #fullError(): OperatingError {
    const { kind, index } = this.#options.identity;
    return new OperatingError(
      'RESOURCE_EXHAUSTED',
      `the log of coordinator ${kind}/${index} is behind; try again`,
      { retryAfterMs: fullRetryMs },
    );
  }
}
