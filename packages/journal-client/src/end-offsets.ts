import { offset, type Offset, OperatingError, toOperatingError } from '@robustmq/core';
import { type OffsetQuery, type OffsetResult, OffsetSpec, refusalOf } from '@robustmq/rpc';
import type { ClientContext } from './client-context.ts';
import { type LeaderRoute, leaderRoute } from './leader-route.ts';
import { retryDelayMs } from './retry-delay.ts';
import { isSealed } from './segment-finder.ts';

type Waiter = PromiseWithResolvers<Offset>;
/** Who waits for the end of which shard. */
type Wanted = Map<number, Waiter>;

/** What one leader is asked. */
interface LeaderQueries {
  readonly route: LeaderRoute;
  readonly queries: OffsetQuery[];
}

const queriesPerCall = 1_000;
const anySegment = Buffer.alloc(0);

/**
 * The ends of shards as they are now: one question per turn to each leader. A question never joins one
 * that was sent in an earlier turn, so an answer is never older than its question.
 */
export class EndOffsets {
  readonly #context: ClientContext;
  #wanted: Wanted = new Map();

  constructor(context: ClientContext) {
    this.#context = context;
  }

  get(shardId: number): Promise<Offset> {
    let waiter = this.#wanted.get(shardId);
    if (waiter === undefined) {
      waiter = Promise.withResolvers<Offset>();
      this.#wanted.set(shardId, waiter);
      this.#context.turn.addStream(this);
    }
    return waiter.promise;
  }

  endOfTurn(): void {
    const wanted = this.#wanted;
    this.#wanted = new Map();
    void this.#answer(wanted);
  }

  /** Asks in rounds until everybody has an answer. */
  async #answer(wanted: Wanted): Promise<void> {
    const { clock, limits, random, closed } = this.#context;
    const giveUpAtMs = clock.monotonicMs() + limits.patienceMs;
    let failure: OperatingError | undefined;
    for (let attempt = 1; wanted.size > 0; attempt++) {
      if (closed.aborted) failure = toOperatingError(closed.reason);
      if (failure !== undefined && (closed.aborted || clock.monotonicMs() > giveUpAtMs)) {
        for (const waiter of wanted.values()) waiter.reject(failure);
        return;
      }
      if (attempt > 2) await this.#pause(retryDelayMs(attempt - 2, random));
      failure = (await this.#askPlacement(wanted, attempt > 1)) ?? failure;
      failure = (await this.#askLeaders(wanted)) ?? failure;
    }
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#context.clock.setTimer(delayMs, resolve);
    });
  }

  /** Asks for shards whose leader is not known (or for all), and answers those that have no open segment. */
  async #askPlacement(wanted: Wanted, all: boolean): Promise<OperatingError | undefined> {
    const { catalog, placement } = this.#context;
    const shardIds = [...wanted.keys()].filter(
      (shardId) => all || leaderRoute(catalog, shardId) === undefined,
    );
    if (shardIds.length === 0) return undefined;
    const outcomes = await placement.resolveShards(shardIds);
    let failure: OperatingError | undefined;
    for (const [at, shardId] of shardIds.entries()) {
      const outcome = outcomes[at];
      if (outcome instanceof OperatingError) failure = outcome;
      if (outcome instanceof OperatingError && outcome.code === 'NOT_FOUND') {
        wanted.get(shardId)?.reject(outcome);
        wanted.delete(shardId);
      } else {
        this.#answerSealed(wanted, shardId);
      }
    }
    return failure;
  }

  /** A shard without an open segment ends where its chain ends: the newest view of it says so. */
  #answerSealed(wanted: Wanted, shardId: number): void {
    const shard = this.#context.catalog.shard(shardId);
    const last = shard?.segments.at(-1);
    if (shard === undefined || (last !== undefined && !isSealed(last))) return;
    wanted.get(shardId)?.resolve(offset(shard.endOffset));
    wanted.delete(shardId);
  }

  async #askLeaders(wanted: Wanted): Promise<OperatingError | undefined> {
    const failures = await Promise.all(
      this.#byLeader(wanted).map((group) => this.#askLeader(wanted, group)),
    );
    const missing = new OperatingError('UNAVAILABLE', 'no leader of the shard is known');
    return wanted.size === 0
      ? undefined
      : (failures.find((error) => error !== undefined) ?? missing);
  }

  #byLeader(wanted: Wanted): LeaderQueries[] {
    const groups = new Map<string, LeaderQueries>();
    for (const shardId of wanted.keys()) {
      const route = leaderRoute(this.#context.catalog, shardId);
      if (route === undefined) continue;
      const group = groups.get(route.address);
      const query = latestOf(shardId, route.epoch);
      if (group === undefined) groups.set(route.address, { route, queries: [query] });
      else group.queries.push(query);
    }
    return [...groups.values()];
  }

  async #askLeader(
    wanted: Wanted,
    { route, queries }: LeaderQueries,
  ): Promise<OperatingError | undefined> {
    const connection = this.#context.connections.get(route);
    let failure: OperatingError | undefined;
    try {
      for (let at = 0; at < queries.length; at += queriesPerCall) {
        const { results } = await connection.listOffsets(queries.slice(at, at + queriesPerCall));
        for (const result of results) failure = answerOne(wanted, result) ?? failure;
      }
    } catch (thrown) {
      failure = toOperatingError(thrown);
    }
    return failure;
  }
}

function latestOf(shardId: number, expectedEpoch: number): OffsetQuery {
  const spec = OffsetSpec.LATEST;
  return { shardId, segmentId: anySegment, spec, timestampMs: 0, expectedEpoch };
}

function answerOne(wanted: Wanted, result: OffsetResult): OperatingError | undefined {
  const refusal = refusalOf(result.status);
  if (refusal !== undefined) return refusal;
  wanted.get(result.shardId)?.resolve(offset(result.offset));
  wanted.delete(result.shardId);
  return undefined;
}
