import { assert, type Clock, delay, expectOperatingError, OperatingError } from '@robustmq/core';
import type { PrepareRoll, PrepareRollsRequest } from '@robustmq/rpc';
import type { ReplicaSet } from '../core/chain.ts';
import { ackQuorumOf } from '../core/replica-choice.ts';
import { readTopicConfig } from '../core/topic-config.ts';
import type { Image } from './image.ts';
import type { NodeRegistry } from './node-registry.ts';
import type { Opener, Prepared } from './opener.ts';
import { refuseToRoll, unsealedOf } from './roll-refusal.ts';

export interface RollPreparerOptions {
  readonly image: Image;
  readonly opener: Pick<Opener, 'prepare' | 'settle'>;
  readonly nodes: Pick<NodeRegistry, 'journalCandidates' | 'isAvoided' | 'isOverdue'>;
  readonly clock: Clock;
}

/** A next segment that waits for its roll. */
interface Ready {
  readonly prepared: Prepared;
  /** When it is given up, on the monotonic clock. */
  readonly untilMs: number;
}

/** One epoch for the seal, one for the next segment. */
export const epochsOfRoll = 2;
/** How long what is prepared waits for its roll, in ms. */
export const readyMs = 10_000;
/** Shards whose next segment is prepared or being prepared. */
const preparedMax = 10_000;
/** How long an answer waits for what is being prepared, in ms, and when to ask again for it. */
const answerMs = 500;
const askAgainMs = 250;

/** Journals that take new segments, with their incarnations. */
type Takers = ReadonlyMap<string, number>;

/**
 * Has the next segments of leaders prepared before they freeze (docs/journal.md 2.6; DESIGN.md, States), so
 * that a journal that hangs keeps nobody waiting. What is ready is kept until its roll, not for ever.
 */
export class RollPreparer {
  readonly #options: RollPreparerOptions;
  readonly #ready = new Map<number, Ready>();
  /** Each resolves with why it failed. */
  readonly #running = new Map<number, PromiseWithResolvers<OperatingError | undefined>>();

  constructor(options: RollPreparerOptions) {
    this.#options = options;
  }

  /** In the order of the request: undefined when the roll may begin, else why it has to wait. */
  async prepare(request: PrepareRollsRequest): Promise<(OperatingError | undefined)[]> {
    const { image, clock } = this.#options;
    const takers = this.#takers();
    const wanted = new Map<number, PrepareRoll>();
    for (const item of request.segments) {
      if (refuseToRoll(image, request, item) !== undefined) continue;
      if (this.#running.has(item.shardId) || wanted.has(item.shardId)) continue;
      const ready = this.#ready.get(item.shardId);
      if (ready && this.#isAsWanted(item.shardId, ready, item.fullNodeIds, takers)) continue;
      this.#drop(item.shardId);
      if (this.#ready.size + this.#running.size + wanted.size < preparedMax) {
        wanted.set(item.shardId, item);
      }
    }
    if (wanted.size > 0) void this.#run(wanted);
    const answered = new AbortController();
    const late = delay(clock, answerMs, answered.signal).then(notYet, () => undefined);
    const outcomes = await Promise.all(
      request.segments.map(async ({ shardId }) => {
        const running = this.#running.get(shardId);
        return running && (await Promise.race([running.promise, late]));
      }),
    );
    answered.abort();
    return request.segments.map(
      (item, at) =>
        refuseToRoll(image, request, item) ??
        outcomes[at] ??
        (this.#ready.has(item.shardId) ? undefined : tooMany()),
    );
  }

  /**
   * Hands out what is ready for a roll that is done now; the caller settles it. A journal that came since
   * it was prepared is no reason to keep a frozen leader waiting: `growth` brings it in.
   *
   * @param full who has all of the segment that ends.
   */
  take(rolls: ReadonlyMap<number, readonly string[]>): Map<number, Prepared> {
    const takers = this.#takers();
    const taken = new Map<number, Prepared>();
    for (const [shardId, full] of rolls) {
      const ready = this.#ready.get(shardId);
      if (ready === undefined) continue;
      this.#ready.delete(shardId);
      const replicas = this.#usable(shardId, ready, full, takers);
      if (replicas === undefined) this.#options.opener.settle(ready.prepared, false);
      else taken.set(shardId, { ...ready.prepared, replicas });
    }
    return taken;
  }

  /** Abandons what has waited too long, and what belongs to a chain that has moved on. */
  pass(): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const [shardId, { untilMs, prepared }] of this.#ready) {
      if (nowMs >= untilMs || !this.#fitsChain(shardId, prepared)) this.#drop(shardId);
    }
  }

  async #run(wanted: ReadonlyMap<number, PrepareRoll>): Promise<void> {
    const { opener, clock } = this.#options;
    const mine = new Set(wanted.keys());
    for (const shardId of mine) this.#running.set(shardId, Promise.withResolvers());
    const end = (shardId: number, error: OperatingError | undefined): void => {
      if (!mine.delete(shardId)) return;
      this.#running.get(shardId)?.resolve(error);
      this.#running.delete(shardId);
    };
    const keep = (shardId: number, prepared: Prepared): void => {
      this.#ready.set(shardId, { prepared, untilMs: clock.monotonicMs() + readyMs });
      end(shardId, undefined);
    };
    const full = new Map([...wanted].map(([shardId, item]) => [shardId, item.fullNodeIds]));
    try {
      const outcomes = await opener.prepare([...mine], epochsOfRoll, full, keep);
      for (const [shardId, outcome] of outcomes) {
        if (outcome instanceof OperatingError) end(shardId, refused(outcome));
      }
    } catch (thrown) {
      // This placement decides no more: the next one deletes what was prepared.
      const { message } = expectOperatingError(thrown);
      const ended = new OperatingError('UNAVAILABLE', message);
      for (const shardId of wanted.keys()) end(shardId, ended);
    }
    assert(mine.size === 0, 'each shard is prepared, or has an error that says why not');
  }

  #drop(shardId: number): void {
    const ready = this.#ready.get(shardId);
    this.#ready.delete(shardId);
    if (ready !== undefined) this.#options.opener.settle(ready.prepared, false);
  }

  #takers(): Takers {
    const candidates = this.#options.nodes.journalCandidates();
    return new Map(candidates.map(({ nodeId, incarnation }) => [nodeId, incarnation]));
  }

  /** Whether what is ready is usable, and as large as it would be chosen now. */
  #isAsWanted(shardId: number, ready: Ready, full: readonly string[], takers: Takers): boolean {
    const { image, nodes } = this.#options;
    const { replicationFactor } = readTopicConfig(image.topicOf(shardId)?.config ?? {});
    const prompt = Array.from(takers.keys()).filter((nodeId) => !nodes.isOverdue(nodeId));
    const sizeMin = Math.min(replicationFactor, prompt.length);
    if (ready.prepared.incarnations.size < sizeMin) return false;
    return this.#usable(shardId, ready, full, takers) !== undefined;
  }

  /**
   * What is ready, led by another member if the one that should lead lacks some of the segment that ends;
   * undefined when it is too late for it, a member takes no segments now, or another ack quorum is wanted.
   */
  #usable(
    shardId: number,
    { prepared, untilMs }: Ready,
    full: readonly string[],
    takers: Takers,
  ): ReplicaSet | undefined {
    const { image, nodes, clock } = this.#options;
    const { replicas, incarnations } = prepared;
    if (clock.monotonicMs() >= untilMs || !this.#fitsChain(shardId, prepared)) return undefined;
    for (const [nodeId, incarnation] of incarnations) {
      if (takers.get(nodeId) !== incarnation) return undefined;
    }
    const { replicationFactor, minInsyncReplicas } = readTopicConfig(
      image.topicOf(shardId)?.config ?? {},
    );
    const quorum = ackQuorumOf(replicationFactor, takers.size, minInsyncReplicas);
    if (replicas.ackQuorum !== quorum) return undefined;
    const before = unsealedOf(image, shardId)?.replicaNodeIds ?? [];
    const able = [replicas.leaderNodeId, ...full].filter(
      (nodeId) =>
        incarnations.has(nodeId) &&
        (full.includes(nodeId) || !before.includes(nodeId)) &&
        !nodes.isOverdue(nodeId),
    );
    const leads = able.find((nodeId) => !nodes.isAvoided(nodeId)) ?? able[0];
    if (leads === undefined) return undefined;
    const leaderIncarnation = incarnations.get(leads) ?? 0;
    return { ...replicas, leaderNodeId: leads, leaderIncarnation };
  }

  /** Whether it is the next segment of the one that is open. */
  #fitsChain(shardId: number, { epoch }: Prepared): boolean {
    const shard = this.#options.image.shards.get(shardId)?.value.shard;
    return shard !== undefined && shard.epoch + epochsOfRoll === epoch;
  }
}

function notYet(): OperatingError {
  const message = 'the next segment is still being prepared: a journal takes long to answer';
  return new OperatingError('UNAVAILABLE', message, { retryAfterMs: askAgainMs });
}

/** Nothing is gained by asking again soon, whatever others who open segments are told. */
function refused({ code, message }: OperatingError): OperatingError {
  return new OperatingError(code, message);
}

function tooMany(): OperatingError {
  const message = `the next segments of ${preparedMax} shards are being prepared: roll later`;
  return new OperatingError('RESOURCE_EXHAUSTED', message);
}
