import {
  type CancelTimer,
  type ErrorCode,
  OperatingError,
  toOperatingError,
  unreachable,
} from '@robustmq/core';
import { batchRecordCount } from '@robustmq/record-batch';
import { type AppendResult, refusalOf } from '@robustmq/rpc';
import type { AppendJob } from './append-job.ts';
import type { AppendStream, JobOwner } from './append-stream.ts';
import type { ClientContext } from './client-context.ts';
import { type LeaderRoute, leaderRoute, sameLeader } from './leader-route.ts';
import { retryDelayMs } from './retry-delay.ts';
import { isSealed } from './segment-finder.ts';
import { restampBatch, ShardProducer } from './shard-producer.ts';

/**
 * Where the writer is.
 * - flowing: jobs go to the leader as they come (or there is none).
 * - draining: the leader has refused a job, and with it whatever follows on the stream; the answers to
 *   what is under way are awaited, so that everything is sent again in order.
 * - waiting: nothing is under way; placement or a timer is awaited.
 */
type WriterState = 'flowing' | 'draining' | 'waiting';

/** Retries of many shards begin at multiples of it, so that they ask placement together. */
const retryGridMs = 20;

/** Attempts in a row without an answer after which each further one waits. */
const quickAttemptsMax = 3;

/** Refusals after which the shard's leader has to be found anew; it may turn out to be the same. */
const leaderMayBeAnother: ReadonlySet<ErrorCode> = new Set([
  'NOT_LEADER',
  'FENCED',
  'SEGMENT_UNKNOWN',
  'UNAVAILABLE',
  'INDETERMINATE',
  'CANCELLED',
  'DAMAGED',
  'CONFLICT',
]);

/** What to do with a job that was refused. */
type Verdict = 'again' | 'new producer id' | 'indeterminate' | 'refused';

/**
 * Brings the batches of one shard to its leader, in the order of their submission, whoever leads it:
 * each is sent again with the same bytes until its answer is known. Batches without a producer id are
 * sent again only when they certainly were not appended.
 */
export class ShardWriter implements JobOwner {
  readonly shardId: number;
  /** The client's own producer at this shard. */
  readonly producer = new ShardProducer();
  readonly #context: ClientContext;
  /** Not answered, in order. Those that are under way come first. */
  readonly #jobs: AppendJob[] = [];
  #inFlight = 0;
  #state: WriterState = 'flowing';
  #route: LeaderRoute | undefined;
  /** Of the segments that batches went to. */
  #highestEpoch = 0;
  #stream: AppendStream | undefined;
  /** The leader may have suspended this shard on the stream. */
  #resume = false;
  /** Why the first job was refused since the last time all went well. */
  #failure: OperatingError | undefined;
  #attempts = 0;
  /** Counts the waits, so that the end of an old one means nothing. */
  #wait = 0;
  #cancelTimer: CancelTimer | undefined;
  #askedAtMs = 0;

  constructor(shardId: number, context: ClientContext) {
    this.shardId = shardId;
    this.#context = context;
  }

  /** Nothing waits for an answer. */
  get idle(): boolean {
    return this.#jobs.length === 0;
  }

  submit(job: AppendJob): void {
    this.#jobs.push(job);
    this.#context.busyWriters.add(this);
    if (this.#state !== 'flowing') return;
    if (this.#stream === undefined) this.#start();
    else this.#send(job);
  }

  answered(job: AppendJob, result: AppendResult): void {
    this.#inFlight--;
    const refusal = refusalOf(result.status);
    if (refusal === undefined) {
      this.#attempts = 0;
      this.#remove(job);
      job.outcome.appended(result);
    } else {
      this.#refused(job, refusal);
    }
    if (this.#state === 'draining' && this.#inFlight === 0) this.#drained();
  }

  streamLost(error: OperatingError): void {
    this.#takeBack();
    this.#failure ??= error;
    this.#drained();
  }

  /** The catalog tells something new about the shard or its leader. */
  routeChanged(): void {
    const route = this.#findRoute();
    const stays =
      route !== undefined && this.#route !== undefined && sameLeader(route, this.#route);
    if (stays) {
      this.#route = route;
      this.#highestEpoch = route.epoch;
      return;
    }
    if (this.#state === 'waiting') {
      if (route !== undefined) this.#flow(route);
      else if (this.#cancelTimer !== undefined && this.#isSealed()) void this.#askPlacement();
    } else if (this.#inFlight === 0) {
      this.#stream = undefined;
    } else if (!this.#hasUnrepeatable()) {
      this.#leaveLeader(route);
    }
  }

  /** Called now and then while jobs wait: an answer that takes long may never come. */
  checkProgress(nowMs: number): void {
    const oldest = this.#jobs[0];
    if (oldest === undefined || this.#inFlight === 0) return;
    const sinceMs = Math.max(oldest.submittedAtMs, this.#askedAtMs);
    if (nowMs - sinceMs < this.#context.limits.askPlacementAfterMs) return;
    this.#askedAtMs = nowMs;
    void this.#checkLeader();
  }

  /** Fails everything that is not answered. */
  close(error: OperatingError): void {
    this.#takeBack();
    this.#cancelTimer?.();
    this.#wait++;
    this.#state = 'waiting';
    this.#failAll(error);
  }

  /** After placement was asked: even a batch that cannot be repeated waits no longer for a leader that has gone. */
  async #checkLeader(): Promise<void> {
    if (this.#route !== undefined) this.#context.connections.get(this.#route).check();
    await this.#context.placement.resolveShards([this.shardId]);
    if (this.#inFlight === 0) return;
    const route = this.#findRoute();
    if (route === undefined || this.#route === undefined || !sameLeader(route, this.#route)) {
      this.#leaveLeader(route);
    }
  }

  /** The chain is ready for its next segment: there is nothing to wait for. */
  #isSealed(): boolean {
    const last = this.#context.catalog.shard(this.shardId)?.segments.at(-1);
    return last === undefined || isSealed(last);
  }

  #leaveLeader(route: LeaderRoute | undefined): void {
    this.#takeBack();
    if (this.#jobs.length === 0) this.#rest();
    else if (route === undefined) void this.#askPlacement();
    else this.#flow(route);
  }

  #hasUnrepeatable(): boolean {
    return this.#jobs.some((job) => job.appendId !== 0 && job.delivered && !job.repeatable);
  }

  /**
   * The leader, if the catalog knows it. One of an older segment than batches have gone to already is none: an
   * old copy of placement's store names it, and its answers about sequences are not those of the log.
   */
  #findRoute(): LeaderRoute | undefined {
    const route = leaderRoute(this.#context.catalog, this.shardId);
    return route === undefined || route.epoch < this.#highestEpoch ? undefined : route;
  }

  #start(): void {
    const route = this.#findRoute();
    if (route === undefined) void this.#askPlacement();
    else this.#flow(route);
  }

  /** Sends everything to a leader, in order. Nothing is under way. */
  #flow(route: LeaderRoute): void {
    if (this.producer.id === undefined && this.#jobs.some((job) => job.producer === 'own')) {
      void this.#takeNewProducerId();
      return;
    }
    this.#wait++;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#state = 'flowing';
    this.#route = route;
    this.#highestEpoch = route.epoch;
    this.#stream = this.#context.connections.get(route).appends;
    for (const job of this.#jobs) this.#send(job);
  }

  #send(job: AppendJob): void {
    job.submittedAtMs = this.#context.clock.monotonicMs();
    this.#inFlight++;
    this.#stream?.submit(job, this, this.#resume);
    this.#resume = false;
  }

  #refused(job: AppendJob, error: OperatingError): void {
    this.#context.countRetry(error.code);
    this.#state = 'draining';
    this.#resume = true;
    if (error.code !== 'STREAM_SUSPENDED') this.#failure ??= error;
    const verdict = verdictOn(job, error.code);
    switch (verdict) {
      case 'again':
        return;
      case 'new producer id':
        this.producer.leave();
        return;
      case 'indeterminate':
        this.#refuse(job, indeterminate(error));
        return;
      case 'refused':
        if (job.producer === 'own') this.producer.leave();
        this.#refuse(job, error);
        return;
      default:
        unreachable(verdict);
    }
  }

  /** Nothing is under way any more, after a refusal or a lost stream. */
  #drained(): void {
    const failure = this.#failure;
    this.#failure = undefined;
    if (this.#jobs.length === 0) {
      this.#rest();
      return;
    }
    this.#attempts++;
    if (failure !== undefined && leaderMayBeAnother.has(failure.code)) this.#reroute();
    else this.#flowAgain(failure);
  }

  #rest(): void {
    this.#state = 'flowing';
    this.#stream = undefined;
  }

  /** The leader is the right one: send again, at once or when it has space. */
  #flowAgain(failure: OperatingError | undefined): void {
    const route = this.#findRoute();
    const hasNoSpace = failure?.code === 'RESOURCE_EXHAUSTED' || failure?.code === 'DISK_FULL';
    if (hasNoSpace || this.#attempts > quickAttemptsMax) {
      this.#waitThenTry(failure?.hint.retryAfterMs);
    } else if (route === undefined) {
      void this.#askPlacement();
    } else {
      this.#flow(route);
    }
  }

  #reroute(): void {
    const failed = this.#route;
    const route = this.#findRoute();
    const isNew = route !== undefined && (failed === undefined || !sameLeader(route, failed));
    if (isNew && this.#attempts <= quickAttemptsMax) this.#flow(route);
    else void this.#askPlacement();
  }

  async #askPlacement(): Promise<void> {
    this.#state = 'waiting';
    this.#stream = undefined;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    const wait = ++this.#wait;
    try {
      await this.#context.placement.openSegments(this.shardId);
      if (wait === this.#wait) this.#placementAnswered();
    } catch (thrown) {
      if (wait === this.#wait) this.#placementRefused(toOperatingError(thrown));
    }
  }

  #placementAnswered(): void {
    const route = this.#findRoute();
    const failed = this.#route;
    const isNew = route !== undefined && (failed === undefined || !sameLeader(route, failed));
    const isWorthIt = isNew ? this.#attempts <= quickAttemptsMax : this.#attempts <= 1;
    if (route !== undefined && isWorthIt) this.#flow(route);
    else this.#waitThenTry();
  }

  #placementRefused(error: OperatingError): void {
    const isAnswer = error.code !== 'FENCED' && error.code !== 'CANCELLED';
    if (!error.retriable && isAnswer) {
      this.#failAll(error);
      this.#rest();
    } else {
      this.#waitThenTry(error.hint.retryAfterMs);
    }
  }

  #waitThenTry(atLeastMs = 0): void {
    this.#state = 'waiting';
    this.#stream = undefined;
    this.#wait++;
    this.#attempts = Math.max(this.#attempts, 1);
    const delayMs = atLeastMs + retryDelayMs(this.#attempts++, this.#context.random);
    const nowMs = this.#context.clock.monotonicMs();
    const atMs = Math.ceil((nowMs + delayMs) / retryGridMs) * retryGridMs;
    this.#cancelTimer?.();
    this.#cancelTimer = this.#context.clock.setTimer(atMs - nowMs, () => {
      this.#cancelTimer = undefined;
      this.#start();
    });
  }

  /** A hole in the sequence stays: what comes behind it continues under a new producer id. */
  async #takeNewProducerId(): Promise<void> {
    this.#state = 'waiting';
    const wait = ++this.#wait;
    let id: number;
    try {
      id = await this.#context.producerIds.next();
    } catch {
      return; // The client is closed, and has failed all jobs.
    }
    if (wait !== this.#wait) return;
    this.producer.begin(id);
    for (const job of this.#jobs) {
      if (job.producer !== 'own') continue;
      const sequence = this.producer.takeSequence(batchRecordCount(job.batch, 0));
      job.replaceBytes(restampBatch(job.batch, id, sequence));
    }
    this.#start();
  }

  /** Stops waiting for answers: what was under way is to be sent again, where that is allowed. */
  #takeBack(): void {
    for (const job of this.#jobs.filter((job) => job.appendId !== 0)) {
      this.#stream?.withdraw(job);
      job.appendId = 0;
      if (job.delivered && !job.repeatable) this.#refuse(job, indeterminate());
    }
    this.#inFlight = 0;
    this.#resume = true;
  }

  #failAll(error: OperatingError): void {
    while (this.#jobs[0] !== undefined) {
      const [job] = this.#jobs;
      if (job.producer === 'own') this.producer.leave();
      this.#refuse(job, error);
    }
  }

  #refuse(job: AppendJob, error: OperatingError): void {
    this.#remove(job);
    job.outcome.refused(error);
  }

  #remove(job: AppendJob): void {
    this.#jobs.splice(this.#jobs.indexOf(job), 1);
    if (this.#jobs.length === 0) this.#context.busyWriters.delete(this);
  }
}

/** What a refusal means for the batch that got it. */
function verdictOn(job: AppendJob, code: ErrorCode): Verdict {
  switch (code) {
    case 'STREAM_SUSPENDED':
    case 'NOT_LEADER':
    case 'FENCED':
    case 'SEGMENT_UNKNOWN':
    case 'UNAVAILABLE':
    case 'RESOURCE_EXHAUSTED':
    case 'DISK_FULL':
    case 'DAMAGED':
    case 'CONFLICT':
      return 'again';
    case 'INDETERMINATE':
    case 'CANCELLED':
      return job.repeatable ? 'again' : 'indeterminate';
    case 'OUT_OF_ORDER_SEQUENCE':
      return job.producer === 'own' ? 'new producer id' : 'refused';
    default:
      return 'refused';
  }
}

function indeterminate(cause?: OperatingError): OperatingError {
  return new OperatingError(
    'INDETERMINATE',
    `the batch was sent and its answer was lost${cause === undefined ? '' : ` (${cause.message})`}; ` +
      'without a producer id it is not sent again',
  );
}
