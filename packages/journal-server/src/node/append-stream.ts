import { limits as coreLimits, OperatingError } from '@robustmq/core';
import {
  type AppendEntry,
  type AppendRequest,
  type AppendResponse,
  type AppendResult,
  type MessageStream,
  type StreamHandlers,
  toStatus,
} from '@robustmq/rpc';
import { ackLevelOf, checkAppendEntry } from './append-entry.ts';
import type { Flushable, Flusher } from './flusher.ts';
import { type AppendOwner, InFlightAppend } from './in-flight-append.ts';
import type { JournalCounters } from './journal-counters.ts';
import type { JournalLimits } from './journal-limits.ts';

/** What an Append stream needs of its node. */
export interface AppendPort {
  readonly limits: JournalLimits;
  readonly flusher: Flusher;
  readonly counters: JournalCounters;
  /** Takes the append over, and tells its owner once what became of it, perhaps at once. */
  submit(append: InFlightAppend): void;
}

/**
 * One Append stream of a broker. Credit: the client never has more bytes of batches without an answer
 * than it was granted; each answer grants its batch's bytes again. After a refusal every
 * later append to that shard is refused until the client resumes it, so that order holds.
 */
export class AppendStream implements StreamHandlers<AppendRequest>, AppendOwner, Flushable {
  readonly #stream: MessageStream<AppendResponse>;
  readonly #port: AppendPort;
  readonly #suspended = new Set<number>();
  #results: AppendResult[] = [];
  #creditBytes: number;
  #unansweredBytes = 0;
  #isScheduled = false;
  #isBlocked = false;
  #isClosed = false;

  constructor(stream: MessageStream<AppendResponse>, port: AppendPort) {
    this.#stream = stream;
    this.#port = port;
    this.#creditBytes = port.limits.appendWindowBytes;
    this.#schedule();
  }

  message(request: AppendRequest): void {
    for (const entry of request.entries) this.#take(entry);
  }

  drain(): void {
    this.#isBlocked = false;
    if (this.#results.length > 0 || this.#creditBytes > 0) this.#schedule();
  }

  /** The client wants no more answers, whether it ended in order or not. */
  closed(): void {
    this.#isClosed = true;
    this.#stream.end();
    this.#results = [];
    this.#suspended.clear();
  }

  #take(entry: AppendEntry): void {
    const bytes = entry.batch.length;
    this.#unansweredBytes += bytes;
    const error = this.#reasonToRefuse(entry);
    if (error !== undefined) {
      this.#answerRefusal(entry.shardId, entry.appendId, bytes, error);
      return;
    }
    let append: InFlightAppend;
    try {
      append = this.#appendOf(entry);
    } catch (thrown) {
      if (!(thrown instanceof OperatingError)) throw thrown;
      this.#answerRefusal(entry.shardId, entry.appendId, bytes, thrown);
      return;
    }
    this.#port.submit(append);
  }

  #reasonToRefuse(entry: AppendEntry): OperatingError | undefined {
    const { shardId, resume } = entry;
    if (resume) this.#suspended.delete(shardId);
    if (this.#suspended.has(shardId)) {
      const message = `an earlier append to shard ${shardId} was refused on this stream: resume it`;
      return new OperatingError('STREAM_SUSPENDED', message);
    }
    const { appendWindowBytes, exhaustedRetryMs } = this.#port.limits;
    if (this.#unansweredBytes <= appendWindowBytes + coreLimits.batchBytesMax) return undefined;
    const message = `${this.#unansweredBytes} bytes are without an answer, ${appendWindowBytes} were granted: wait for credit`;
    return new OperatingError('RESOURCE_EXHAUSTED', message, { retryAfterMs: exhaustedRetryMs });
  }

  #appendOf(entry: AppendEntry): InFlightAppend {
    const facts = checkAppendEntry(entry);
    return new InFlightAppend({
      owner: this,
      appendId: entry.appendId,
      shardId: entry.shardId,
      ackLevel: ackLevelOf(entry.ackLevel),
      expectedEpoch: entry.expectedEpoch,
      filter: entry.filter,
      batch: entry.batch,
      facts,
    });
  }

  acknowledged(append: InFlightAppend): void {
    const { appendId, baseOffset, appendTimeMs, isDuplicate } = append;
    const status = undefined;
    this.#answer(append.batchBytes, {
      appendId,
      baseOffset,
      appendTimeMs,
      status,
      duplicate: isDuplicate,
    });
  }

  refused(append: InFlightAppend, error: OperatingError): void {
    this.#answerRefusal(append.shardId, append.appendId, append.batchBytes, error);
  }

  #answerRefusal(shardId: number, appendId: number, bytes: number, error: OperatingError): void {
    this.#port.counters.refused(error.code);
    // The batch is in the log: what follows it keeps its order.
    const wasDone = error.code === 'DUPLICATE_SEQUENCE';
    if (!wasDone && !this.#isClosed) this.#suspended.add(shardId);
    const status = toStatus(error);
    this.#answer(bytes, { appendId, baseOffset: 0, appendTimeMs: 0, status, duplicate: wasDone });
    if (this.#suspended.size <= this.#port.limits.suspendedShardsMax) return;
    const message = `${this.#suspended.size} shards are suspended on this stream: resume them, or open another stream`;
    this.#stream.cancel(new OperatingError('RESOURCE_EXHAUSTED', message));
    this.closed();
  }

  #answer(bytes: number, result: AppendResult): void {
    this.#unansweredBytes -= bytes;
    if (this.#isClosed) return;
    this.#creditBytes += bytes;
    this.#results.push(result);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isBlocked || this.#isClosed) return;
    this.#isScheduled = true;
    this.#port.flusher.schedule(this);
  }

  /** Sends all answers of the turn. Without credit the client stops, so they are bounded while blocked. */
  flush(): void {
    this.#isScheduled = false;
    if (this.#isClosed || this.#isBlocked) return;
    const { appendResultsPerMessageMax } = this.#port.limits;
    while (this.#results.length > 0 || this.#creditBytes > 0) {
      const results = this.#results;
      this.#results =
        results.length > appendResultsPerMessageMax
          ? results.splice(appendResultsPerMessageMax)
          : [];
      const creditBytes = this.#creditBytes;
      this.#creditBytes = 0;
      if (!this.#stream.send({ results, creditBytes })) {
        this.#isBlocked = true;
        return;
      }
    }
  }
}
