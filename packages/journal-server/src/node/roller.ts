import {
  type CancelTimer,
  type Clock,
  type Logger,
  OperatingError,
  toOperatingError,
  TurnTask,
} from '@robustmq/core';
import { type PrepareRoll, type RollSegment, segmentIdToBytes, type Shard } from '@robustmq/rpc';
import type { JournalStorage } from '../storage/storage.ts';
import type { JournalCounters } from './journal-counters.ts';
import type { JournalLimits } from './journal-limits.ts';
import type { PlacementPort } from './placement-port.ts';
import type { Replica } from './replica.ts';
import type { ReplicaDriver } from './replica-driver.ts';
import { UnknownRolls } from './unknown-rolls.ts';
import { type RollVerdict, verdictOfError, verdictOfShard } from './roll-verdict.ts';

export interface RollerOptions {
  readonly storage: JournalStorage;
  readonly placement: PlacementPort;
  readonly driver: ReplicaDriver;
  readonly clock: Clock;
  readonly limits: JournalLimits;
  readonly counters: JournalCounters;
  readonly logger: Logger;
  /** Whether a follower that can be reached lacks records of the log. */
  readonly isFollowerBehind: (replica: Replica) => boolean;
}

/**
 * Rolls led segments: freeze, wait until everything is committed, tell placement the end, and go on in
 * the next segment. While placement is away nothing is frozen; a request without an answer keeps its
 * segments frozen until there is one (docs/journal.md, section 2.6). So placement is asked to prepare the
 * next segments first: what cannot be prepared yet, or a placement that hangs, freezes nothing.
 */
export class Roller {
  readonly #options: RollerOptions;
  /** Due, and to be frozen once placement has answered; in the next call those that were not asked for. */
  readonly #due = new Set<Replica>();
  #toAsk: Replica[] = [];
  /** Frozen, committed to the end, and to be asked for in the next call. */
  readonly #drained = new Set<Replica>();
  /** Committed to the end, and followers that are about to have the end, too, are waited for. */
  readonly #waiting = new Map<Replica, CancelTimer>();
  /** Segments that are frozen since nobody knows whether they were rolled. */
  readonly #unknown = new UnknownRolls();
  #isAsking = false;
  #isDraining = false;
  #onIdle: (() => void) | undefined;
  readonly #task = new TurnTask(() => void this.#askAll());
  readonly #dueTask = new TurnTask(() => this.#prepareDue());

  constructor(options: RollerOptions) {
    this.#options = options;
  }

  /** Rolls a segment if its size, age or number of aborted transactions says so. */
  consider(replica: Replica): void {
    if (replica.isRolling || this.#due.has(replica) || !this.#isDue(replica)) return;
    const { placement, clock } = this.#options;
    if (!placement.connected || clock.monotonicMs() < replica.nextRollMs) return;
    this.#due.add(replica);
    this.#toAsk.push(replica);
    this.#dueTask.schedule();
  }

  #prepareDue(): void {
    const { controlItemsMax } = this.#options.limits;
    const due = this.#toAsk;
    this.#toAsk = [];
    for (let at = 0; at < due.length; at += controlItemsMax) {
      void this.#freezeDue(due.slice(at, at + controlItemsMax));
    }
  }

  /** Freezes those whose next segment is prepared; meanwhile appends go on, and for the others they do. */
  async #freezeDue(due: readonly Replica[]): Promise<void> {
    const { clock, limits } = this.#options;
    const asked = due.filter((replica) => this.#due.has(replica));
    const outcomes = await this.#prepareNext(asked);
    asked.forEach((replica, at) => {
      if (!this.#due.delete(replica) || replica.isRolling || !replica.isLeader) return;
      const error = outcomes[at];
      if (error === undefined) this.#freeze(replica);
      else
        replica.nextRollMs = clock.monotonicMs() + (error.hint.retryAfterMs ?? limits.rollRetryMs);
    });
  }

  /** Why each roll has to wait, in order; undefined for those that may begin. */
  async #prepareNext(replicas: readonly Replica[]): Promise<(OperatingError | undefined)[]> {
    const { placement, storage } = this.#options;
    const { nodeId, incarnation } = storage;
    const segments = replicas.map(preparationFor);
    try {
      return await placement.prepareRolls({ nodeId, incarnation, segments });
    } catch (thrown) {
      const error = toOperatingError(thrown);
      if (error.code !== 'UNSUPPORTED') return replicas.map(() => error);
    }
    // An older placement: it answers at least, so that one that hangs freezes nothing.
    const shards = await placement.resolveShards(replicas.map(({ shard }) => shard.shardId));
    return shards.map((shard) => (shard instanceof OperatingError ? shard : undefined));
  }

  #isDue({ stored, policy, state }: Replica): boolean {
    const { limits, clock } = this.#options;
    const { segmentBytesDefault, segmentMsDefault, abortedPerSegmentMax } = limits;
    if (stored.length === 0) return false;
    if (stored.sizeBytes >= (policy?.segmentBytes ?? segmentBytesDefault)) return true;
    if ((state.leading?.producers.aborted.size ?? 0) >= abortedPerSegmentMax) return true;
    return clock.wallMs() - stored.firstAppendMs >= (policy?.segmentMs ?? segmentMsDefault);
  }

  #freeze(replica: Replica): void {
    replica.isRolling = true;
    replica.isRollUnknown = false;
    replica.hasAwaitedFollowers = false;
    this.#options.driver.run(replica, { kind: 'freeze' });
  }

  /**
   * A frozen segment is committed up to its end; told again with each follower that gets there. Who is not
   * full when the end is recorded has to be completed by placement, so the last ones are waited for, once
   * and shortly: a slow one does not hold the appends back that wait for the next segment.
   */
  drained(replica: Replica): void {
    const { clock, limits, isFollowerBehind } = this.#options;
    if (!replica.hasAwaitedFollowers && isFollowerBehind(replica)) {
      if (this.#waiting.has(replica)) return;
      const end = (): void => this.#askFor(replica);
      this.#waiting.set(replica, clock.setTimer(limits.rollFollowersMs, end));
      return;
    }
    this.#askFor(replica);
  }

  #askFor(replica: Replica): void {
    this.#stopWaiting(replica);
    replica.hasAwaitedFollowers = true;
    this.#drained.add(replica);
    this.#task.schedule();
  }

  /**
   * Shutdown: seals all these segments with known ends and opens no successors. Resolves when all are
   * sealed or given up; the caller bounds the time.
   */
  async drainAll(replicas: readonly Replica[]): Promise<void> {
    this.#isDraining = true;
    if (replicas.length === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onIdle = () => {
      if (replicas.every((replica) => !replica.isLeader || !replica.isRolling)) resolve();
    };
    for (const replica of replicas) if (!replica.isRolling) this.#freeze(replica);
    await promise;
  }

  #stopWaiting(replica: Replica): void {
    this.#waiting.get(replica)?.();
    this.#waiting.delete(replica);
  }

  /** A segment is led no more, whoever ended it. */
  closed(replica: Replica): void {
    this.#stopWaiting(replica);
    this.#known(replica);
    this.#due.delete(replica);
    this.#onIdle?.();
  }

  async #askAll(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    try {
      while (this.#drained.size > 0) {
        const asked = [...this.#drained].slice(0, this.#options.limits.controlItemsMax);
        for (const replica of asked) this.#drained.delete(replica);
        await this.#ask(asked);
        this.#onIdle?.();
      }
    } finally {
      this.#isAsking = false;
    }
  }

  async #ask(asked: readonly Replica[]): Promise<void> {
    const { placement, storage } = this.#options;
    const replicas = asked.filter(({ isLeader, isRolling }) => isLeader && isRolling);
    if (replicas.length === 0) return;
    const segments = replicas.map((replica) => this.#orderFor(replica));
    const { nodeId, incarnation } = storage;
    let outcomes: readonly (Shard | OperatingError)[];
    try {
      outcomes = await placement.rollSegments({ nodeId, incarnation, segments });
    } catch (thrown) {
      const error = toOperatingError(thrown);
      outcomes = replicas.map(() => error);
    }
    const verdicts = outcomes.map((outcome, index) => verdictFor(outcome, replicas[index]));
    await this.#apply(replicas, verdicts);
  }

  #orderFor({ stored, state, shard, endOffset }: Replica): RollSegment {
    const full = stored.manifest.replicaNodeIds.filter(
      (_, index) => state.match[index] === state.length,
    );
    return {
      segmentId: segmentIdToBytes(stored.manifest.segmentId),
      shardId: shard.shardId,
      epoch: stored.manifest.epoch,
      endOffset,
      fullNodeIds: full,
      openNext: !this.#isDraining,
      sizeBytes: stored.sizeBytes,
      maxTimestampMs: stored.maxTimestampMs,
    };
  }

  async #apply(replicas: readonly Replica[], verdicts: readonly RollVerdict[]): Promise<void> {
    const sealed = replicas.flatMap((replica, index) => {
      const verdict = verdicts[index];
      return verdict?.kind === 'sealed' ? [{ replica, length: verdict.length }] : [];
    });
    try {
      await this.sealStored(sealed);
    } catch (thrown) {
      // The segment was deleted meanwhile, or the storage ends. Placement tells an end once more.
      const { code, message } = toOperatingError(thrown);
      if (code === 'INTERNAL') throw thrown;
      this.#options.logger.warn({ code, message }, 'ends of rolled segments could not be stored');
    }
    replicas.forEach((replica, index) => this.#conclude(replica, verdicts[index]));
  }

  /** Remembers ends durably, where the replica is long enough and does not know it yet. */
  async sealStored(items: readonly { replica: Replica; length: number }[]): Promise<void> {
    const { storage } = this.#options;
    const whole = items.filter(({ replica: { stored }, length }) => {
      const isThere = storage.replica(stored.manifest.segmentId) === stored;
      return isThere && stored.sealedLength === undefined && stored.length >= length;
    });
    if (whole.length === 0) return;
    await storage.seal(whole.map(({ replica, length }) => ({ replica: replica.stored, length })));
  }

  #conclude(replica: Replica, found: RollVerdict = { kind: 'unknown' }): void {
    const { driver, clock, limits, counters, logger } = this.#options;
    // A notice of the end that came meanwhile says more than any answer that was under way.
    const { sealedLength } = replica.stored;
    const verdict: RollVerdict =
      sealedLength === undefined ? found : { kind: 'sealed', length: sealedLength };
    if (verdict.kind !== 'unknown') this.#known(replica);
    switch (verdict.kind) {
      case 'sealed':
        if (replica.isRolling) counters.rolls++;
        replica.isRolling = false;
        driver.run(replica, { kind: 'sealed', length: verdict.length });
        return;
      case 'open':
        replica.isRolling = false;
        replica.nextRollMs = clock.monotonicMs() + limits.rollRetryMs;
        driver.run(replica, { kind: 'unfreeze' });
        return;
      case 'lost':
        replica.isRolling = false;
        driver.run(replica, { kind: 'close' });
        return;
      case 'unknown':
        replica.isRollUnknown = true;
        if (this.#unknown.add(replica, clock.monotonicMs())) {
          const message =
            'rolls without an answer of placement: their appends wait until there is one';
          logger.warn({ shardId: replica.shard.shardId }, message);
        }
        clock.setTimer(limits.rollUnknownRetryMs, () => this.drained(replica));
    }
  }

  /** What has become of a roll is known, or does not matter any more. */
  #known(replica: Replica): void {
    const { clock, logger } = this.#options;
    const ended = this.#unknown.delete(replica, clock.monotonicMs());
    if (ended !== undefined) logger.warn(ended, 'all rolls have an answer again');
  }

  /**
   * The catalog shows the end of a chain. A roll that is under way is concluded by its own answer,
   * which comes when the next leader is there.
   */
  chainChanged(replica: Replica, shard: Shard): void {
    const { segmentId, epoch } = replica.state.identity;
    const verdict = verdictOfShard(shard, segmentId, epoch);
    if (verdict.kind === 'open' || (verdict.kind === 'sealed' && replica.isRolling)) return;
    replica.isRolling = false;
    this.#options.driver.run(replica, { kind: 'close' });
  }
}

function preparationFor({ stored, state, shard }: Replica): PrepareRoll {
  const { segmentId, epoch, replicaNodeIds } = stored.manifest;
  return {
    segmentId: segmentIdToBytes(segmentId),
    shardId: shard.shardId,
    epoch,
    fullNodeIds: replicaNodeIds.filter((_, at) => (state.match[at] ?? 0) >= state.commitLength),
  };
}

function verdictFor(outcome: Shard | OperatingError, replica: Replica | undefined): RollVerdict {
  if (replica === undefined) return { kind: 'unknown' };
  if (outcome instanceof OperatingError) return verdictOfError(outcome, replica.isRollUnknown);
  const { segmentId, epoch } = replica.state.identity;
  return verdictOfShard(outcome, segmentId, epoch);
}
