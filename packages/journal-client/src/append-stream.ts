import { OperatingError } from '@robustmq/core';
import {
  type AppendEntry,
  type AppendRequest,
  type AppendResponse,
  type AppendResult,
  journalBrokerMethods,
  type MessageStream,
  type RpcClient,
} from '@robustmq/rpc';
import type { AppendJob } from './append-job.ts';
import type { ClientTurn } from './client-turn.ts';

/** Who submits jobs and is told about them. */
export interface JobOwner {
  readonly shardId: number;
  answered(job: AppendJob, result: AppendResult): void;
  /** The stream was lost: none of the owner's jobs on it will be answered. */
  streamLost(error: OperatingError): void;
}

interface Submitted {
  readonly job: AppendJob;
  readonly owner: JobOwner;
  readonly resume: boolean;
}

/**
 * The appends to one journal: one request per event-loop turn with the batches of all shards, within
 * the credit that the journal has granted. Opens by itself, and again after it was lost.
 */
export class AppendStream {
  readonly #client: RpcClient;
  readonly #turn: ClientTurn;
  readonly #requestBytesMax: number;
  readonly #onLost: (error: OperatingError) => void;
  /** What was submitted and is not answered, by append id. Those from `#firstUnsent` on are not sent. */
  readonly #submitted = new Map<number, Submitted>();
  #stream: MessageStream<AppendRequest> | undefined;
  #lastId = 0;
  #firstUnsent = 1;
  #creditBytes = 0;
  #blocked = false;

  constructor(
    client: RpcClient,
    turn: ClientTurn,
    requestBytesMax: number,
    onLost: (error: OperatingError) => void,
  ) {
    this.#client = client;
    this.#turn = turn;
    this.#requestBytesMax = requestBytesMax;
    this.#onLost = onLost;
  }

  /** Sends a job behind all others, at the end of the turn or as soon as there is credit. */
  submit(job: AppendJob, owner: JobOwner, resume: boolean): void {
    this.#stream ??= this.#open();
    job.appendId = ++this.#lastId;
    job.delivered = false;
    this.#submitted.set(job.appendId, { job, owner, resume });
    this.#turn.addStream(this);
  }

  /** Forgets a job: it is not sent if it was not yet, and its answer means nothing any more. */
  withdraw(job: AppendJob): void {
    this.#submitted.delete(job.appendId);
    job.appendId = 0;
  }

  endOfTurn(): void {
    while (!this.#blocked && this.#stream !== undefined) {
      const entries = this.#nextEntries();
      if (entries.length === 0) return;
      this.#blocked = !this.#stream.send({ entries });
    }
  }

  close(): void {
    this.#stream?.cancel();
  }

  #open(): MessageStream<AppendRequest> {
    this.#creditBytes = 0;
    this.#blocked = false;
    const stream: MessageStream<AppendRequest> = this.#client.open(journalBrokerMethods.append, {
      message: (response) => this.#onResponse(response),
      drain: () => {
        this.#blocked = false;
        this.endOfTurn();
      },
      closed: (error) => this.#onClosed(stream, error),
    });
    return stream;
  }

  #nextEntries(): AppendEntry[] {
    const entries: AppendEntry[] = [];
    let bytes = 0;
    for (; this.#firstUnsent <= this.#lastId; this.#firstUnsent++) {
      const submitted = this.#submitted.get(this.#firstUnsent);
      if (submitted === undefined) continue;
      const batchBytes = submitted.job.batch.length;
      if (batchBytes > this.#creditBytes) break;
      if (entries.length > 0 && bytes + batchBytes > this.#requestBytesMax) break;
      bytes += batchBytes;
      this.#creditBytes -= batchBytes;
      entries.push(entryOf(submitted));
    }
    return entries;
  }

  #onResponse(response: AppendResponse): void {
    this.#creditBytes += response.creditBytes;
    for (const result of response.results) {
      const submitted = this.#submitted.get(result.appendId);
      if (submitted === undefined) continue;
      this.#submitted.delete(result.appendId);
      submitted.job.appendId = 0;
      submitted.owner.answered(submitted.job, result);
    }
    if (this.#firstUnsent <= this.#lastId) this.#turn.addStream(this);
  }

  #onClosed(stream: MessageStream<AppendRequest>, error: OperatingError | undefined): void {
    if (stream !== this.#stream) return;
    this.#stream = undefined;
    const reason =
      error ??
      new OperatingError('UNAVAILABLE', `journal ${this.#client.address} ended the append stream`);
    const owners = new Set<JobOwner>();
    for (const { owner } of this.#submitted.values()) owners.add(owner);
    this.#submitted.clear();
    this.#firstUnsent = this.#lastId + 1;
    this.#onLost(reason);
    for (const owner of owners) owner.streamLost(reason);
  }
}

function entryOf({ job, owner, resume }: Submitted): AppendEntry {
  const { filter, ackLevel, writerEpoch } = job.content;
  return {
    appendId: job.appendId,
    shardId: owner.shardId,
    expectedEpoch: 0,
    ackLevel,
    writerEpoch,
    resume,
    filter,
    batch: job.takeBytes(),
  };
}
