import type { CancelTimer, Clock, Logger, Offset, OperatingError, ShardId } from '@robustmq/core';
import type { Outbox, OutboxOutcome } from '../outbox/outbox.ts';

/**
 * What one kind of coordinator does; one instance per shard and ownership. Every call comes from the
 * runtime, one at a time, and none of them may be async. A throw other than an OperatingError is a
 * bug and ends the process.
 *
 * The state changes by {@link apply} alone (what is kept in memory only, such as grants of transient
 * sessions, excepted). All records that are proposed during one call of the runtime into the machine
 * are in one batch of the log: after a crash all of them are there, or none.
 */
export interface StateMachine {
  /**
   * Changes the state by one record. A deterministic fold: it sees the record, the offset and the
   * state, nothing else; no clock, no replies, no proposals ({@link Outbox.enqueue} is allowed).
   * Called at once by {@link CoordinatorContext.propose}, and for each record at a takeover. `record`
   * is a view: what stays is copied.
   */
  apply(record: Buffer, offset: Offset): void;
  /**
   * The state as it is at this call, as chunks of at most 1 MiB (about 64 KiB is best), each of its
   * own buffer. The runtime takes them one by one and calls `apply` in between: the chunks must show
   * the state at the call all the same ({@link EntityTable} does that).
   */
  snapshot(): Iterator<Buffer>;
  /** Adds a chunk of a snapshot to the state. Chunks come in order, before any record. `chunk` is a view. */
  restoreChunk(chunk: Buffer): void;
  /** The state is complete and this broker serves: set timers, look for nodes that are gone, announce. */
  started(): void;
  /** Another broker owns it now, or nobody: forget everything. Timers and replies are ended already. */
  stopped(): void;
  /**
   * A command. It may come again after it was carried out (its answer was lost): it is recognised by
   * an id or an epoch of its own. Throwing an OperatingError answers with it; what was proposed before
   * stays. `payload` may be sent again: it is not changed, and what stays is copied.
   */
  command(payload: Buffer, caller: Caller, reply: Reply): void;
  /**
   * A broker has died or has been started anew: whatever that incarnation, or a lower one, held is
   * free. May be repeated.
   */
  nodeGone?(nodeId: string, incarnation: number): void;
  /**
   * An entry of the outbox is committed in its target, or refused for good: answers that wait for it
   * may leave. Not a fold: it may come again after a takeover, until it is confirmed. Until then the
   * machine remembers it in memory, for commands that are repeated.
   */
  outboxDelivered?(tag: Buffer, outcome: OutboxOutcome): void;
  /** A fold like {@link apply}: the delivery is in the log; the entry will not be heard of again. */
  outboxConfirmed?(tag: Buffer, outcome: OutboxOutcome): void;
  /** The broker shuts down: what is written late is proposed now. Commands are refused already. */
  draining?(): void;
  /** The last snapshot is finished: everything before the state it shows may be trimmed. */
  snapshotFinished?(): void;
}

/** The broker that a command comes from. */
export interface Caller {
  readonly nodeId: string;
  readonly incarnation: number;
}

/** The way back to who asked. Exactly one of the two is called, once, now or later. */
export interface Reply {
  /**
   * Answers, once everything that was proposed until now is committed: no answer shows a state that
   * could be lost. The payload is given away.
   */
  ok(payload: Buffer): void;
  /** Refuses, likewise not before everything proposed until now is committed. */
  fail(error: OperatingError): void;
}

/** What the runtime gives to a machine. Usable from `started` to `stopped`. */
export interface CoordinatorContext {
  readonly kind: string;
  readonly index: number;
  /** The shard of the machine's log. */
  readonly shardId: ShardId;
  /** Writer epoch of this ownership: grows with each. */
  readonly epoch: number;
  /** This broker. */
  readonly self: Caller;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly outbox: Outbox;
  /** The log is behind by its bound: refuse what is not necessary with RESOURCE_EXHAUSTED. */
  readonly full: boolean;
  /**
   * Appends a record and applies it at once. `record` is copied. Throws BATCH_TOO_LARGE, before
   * anything has changed, when the records of this call exceed what one batch can hold.
   */
  propose(record: Buffer): Offset;
  /** Calls once everything that was proposed until now is committed; never if the ownership ends first. */
  afterCommit(callback: () => void): void;
  /**
   * Tells a broker something, once everything proposed until now is committed. Lost when that broker
   * is not connected or goes away: a notice is a hint to somebody who can also ask.
   */
  notify(nodeId: string, payload: Buffer): void;
  /**
   * Calls when the state is known to be the newest (docs/design.md, section 2, lease): at once if an
   * append of this epoch that was sent at most 1 s ago is acknowledged, else after the next append.
   */
  fresh(onFresh: () => void): void;
  /** Makes a timer; it does nothing before it is set, and never fires after the ownership has ended. */
  timer(fire: () => void): MachineTimer;
  /**
   * Whether that incarnation of the broker is alive as far as the catalog says. A broker that the catalog
   * does not show yet is alive; {@link StateMachine.nodeGone} follows when it is not.
   */
  nodeAlive(nodeId: string, incarnation: number): boolean;
  /** Makes a snapshot soon: for state that changes otherwise than by records. */
  requestSnapshot(): void;
}

/** A timer that can be set again and again; it fires once per setting, never early. */
export interface MachineTimer {
  /** Sets it, or moves it. */
  set(delayMs: number): void;
  readonly cancel: CancelTimer;
}

/** A kind of coordinator, as an adapter registers it. */
export interface CoordinatorKind {
  /** For example `mqtt-session`; its log is the internal topic `$` + kind. */
  readonly kind: string;
  /** Number of its shards when the cluster is made; the catalog's number counts afterwards. */
  readonly shards: number;
  create(context: CoordinatorContext): StateMachine;
}
