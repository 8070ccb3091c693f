import { assert, type Clock, OperatingError, type TimerWheel, unreachable } from '@robustmq/core';
import { encodeFrame, encodeSnapshotFrame } from '@robustmq/record-batch';
import type { PendingAppend } from '../core/pending-append.ts';
import { encodeProducerSnapshot } from '../core/producer-snapshot.ts';
import type { ReplicaEffect, ReplicaEvent } from '../core/replica-event.ts';
import { step } from '../core/replica-step.ts';
import type { JournalStorage } from '../storage/storage.ts';
import { InFlightAppend } from './in-flight-append.ts';
import type { JournalCounters } from './journal-counters.ts';
import type { Replica, Upstream } from './replica.ts';

/** What the driver cannot do by itself. Called synchronously. */
export interface ReplicaOwner {
  acknowledge(append: InFlightAppend): void;
  refuse(append: InFlightAppend, error: OperatingError): void;
  /** Gives an append that has waited to the leader of its shard, if it is here. */
  reroute(append: InFlightAppend): void;
  notLeader(shardId: number): OperatingError;
  /** A frame was written: perhaps the segment has to be rolled. */
  written(replica: Replica): void;
  drained(replica: Replica): void;
  closed(replica: Replica): void;
}

export interface ReplicaDriverOptions {
  readonly storage: JournalStorage;
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  readonly counters: JournalCounters;
  readonly owner: ReplicaOwner;
}

/** Takes replicas through events, and does what the core asks for: the only caller of `step`. */
export class ReplicaDriver {
  readonly #storage: JournalStorage;
  readonly #clock: Clock;
  readonly #wheel: TimerWheel;
  readonly #counters: JournalCounters;
  readonly #owner: ReplicaOwner;
  /** Lists of effects to use again: one for each level of a nested event. */
  readonly #lists: ReplicaEffect[][] = [];

  constructor(options: ReplicaDriverOptions) {
    this.#storage = options.storage;
    this.#clock = options.clock;
    this.#wheel = options.wheel;
    this.#counters = options.counters;
    this.#owner = options.owner;
  }

  run(replica: Replica, event: ReplicaEvent): void {
    const effects = this.#lists.pop() ?? [];
    step(replica.state, event, this.#clock.monotonicMs(), effects);
    for (const effect of effects) this.#execute(replica, effect);
    effects.length = 0;
    this.#lists.push(effects);
  }

  #execute(replica: Replica, effect: ReplicaEffect): void {
    switch (effect.kind) {
      case 'write':
        this.#write(replica, inFlight(effect.append), effect.isSnapshotDue);
        return;
      case 'acknowledge':
        this.#owner.acknowledge(inFlight(effect.append));
        return;
      case 'refuse':
        this.#owner.refuse(inFlight(effect.append), effect.error);
        return;
      case 'notLeader': {
        const error = this.#owner.notLeader(replica.state.identity.shardId);
        this.#owner.refuse(inFlight(effect.append), error);
        return;
      }
      case 'reroute':
        this.#owner.reroute(inFlight(effect.append));
        return;
      case 'keep':
        this.#keep(replica, inFlight(effect.append), effect.untilMs);
        return;
      case 'readable':
        replica.notifyFollowers();
        return;
      case 'drained':
        this.#owner.drained(replica);
        return;
      case 'closed':
        this.#owner.closed(replica);
        replica.notifyFollowers();
        return;
      case 'store':
        upstreamOf(replica).store(replica);
        return;
      case 'confirm':
        replica.upstream?.confirm(replica);
        return;
      case 'rejectFrames':
        upstreamOf(replica).reject(replica, effect.error);
        return;
      default:
        unreachable(effect);
    }
  }

  /** Stamps and stores a batch; the storage refuses it when there is no room. */
  #write(replica: Replica, append: InFlightAppend, isSnapshotDue: boolean): void {
    const appendTimeMs = Math.max(this.#clock.wallMs(), replica.lastAppendMs);
    let frameBytes = 0;
    try {
      if (isSnapshotDue) this.#writeSnapshot(replica, appendTimeMs);
      frameBytes = this.#writeBatch(replica, append, appendTimeMs);
    } catch (thrown) {
      if (!(thrown instanceof OperatingError)) throw thrown;
      this.run(replica, { kind: 'writeRefused', error: thrown });
      return;
    }
    replica.lastAppendMs = appendTimeMs;
    append.releaseBytes();
    append.appendTimeMs = appendTimeMs;
    this.#counters.appendedBytes += frameBytes;
    this.run(replica, { kind: 'written', frameBytes });
    const { stored, state } = replica;
    assert(stored.length === state.length, 'core and storage agree on the length of the log');
    this.#owner.written(replica);
  }

  #writeBatch(replica: Replica, append: InFlightAppend, appendTimeMs: number): number {
    const { stored } = replica;
    const { facts, filter, batch, baseOffset, maxTimestampMs } = append;
    const { header, chain } = encodeFrame({
      epoch: stored.manifest.epoch,
      writerEpoch: facts.writerEpoch,
      appendTimeMs,
      previousChain: stored.chain,
      control: facts.control,
      baseOffset,
      filter,
      batch,
    });
    const { records } = facts;
    const frame = { header, body: batch, records, chain, maxTimestampMs, appendTimeMs };
    this.#storage.append(stored, frame);
    return header.length + batch.length;
  }

  #writeSnapshot(replica: Replica, appendTimeMs: number): void {
    const { stored, state } = replica;
    assert(state.leading !== undefined, 'only a leader writes snapshots');
    const { producers } = state.leading;
    const body = encodeProducerSnapshot(producers);
    const stamp = {
      epoch: stored.manifest.epoch,
      writerEpoch: producers.writerEpoch,
      appendTimeMs,
      previousChain: stored.chain,
    };
    const { header, chain } = encodeSnapshotFrame(stamp, body);
    const maxTimestampMs = stored.maxTimestampMs;
    this.#storage.append(stored, { header, body, records: 0, chain, maxTimestampMs, appendTimeMs });
    this.run(replica, { kind: 'snapshotWritten' });
  }

  #keep(replica: Replica, append: InFlightAppend, untilMs: number | undefined): void {
    append.ownBytes();
    if (untilMs === undefined) return;
    // One timer for each early batch: they are rare and bounded by the bytes in flight.
    const timer = this.#wheel.timer(() => this.run(replica, { kind: 'holdExpired' }));
    timer.set(untilMs - this.#clock.monotonicMs());
  }
}

function upstreamOf(replica: Replica): Upstream {
  assert(replica.upstream !== undefined, 'frames come from a stream');
  return replica.upstream;
}

function inFlight(append: PendingAppend): InFlightAppend {
  assert(append instanceof InFlightAppend, 'the node gives the core its own appends only');
  return append;
}
