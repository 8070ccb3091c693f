import { OperatingError, type SegmentId } from '@robustmq/core';
import {
  type MessageStream,
  type ReplicateEntry,
  type ReplicateRequest,
  type ReplicateResponse,
  type ReplicateResult,
  segmentIdOfBytes,
  segmentIdToBytes,
  type StreamHandlers,
  toStatus,
} from '@robustmq/rpc';
import type { JournalStorage } from '../storage/storage.ts';
import { countRecords, storeFrames } from './copied-frames.ts';
import type { Flushable, Flusher } from './flusher.ts';
import type { JournalLimits } from './journal-limits.ts';
import { operatingErrorOf } from './operating-error.ts';
import type { Replica, Upstream } from './replica.ts';
import type { ReplicaDriver } from './replica-driver.ts';

/** What a Replicate stream needs of its node. */
export interface ReplicatePort {
  readonly storage: JournalStorage;
  readonly limits: JournalLimits;
  readonly flusher: Flusher;
  readonly driver: ReplicaDriver;
  replica(segmentId: SegmentId): Replica | undefined;
  /** The replica has frames of a leader: its base is known now. */
  follows(replica: Replica): void;
}

/**
 * The follower's end of a Replicate stream: stores what the leader sends behind what is there, and tells
 * it once per turn what is durable (docs/journal.md, section 2.3).
 */
export class ReplicateStream implements StreamHandlers<ReplicateRequest>, Upstream, Flushable {
  readonly #stream: MessageStream<ReplicateResponse>;
  readonly #port: ReplicatePort;
  /** Replicas of which the leader is to be told. */
  readonly #grown = new Set<Replica>();
  #refusals: ReplicateResult[] = [];
  #creditBytes: number;
  #isScheduled = false;
  #isBlocked = false;
  #isClosed = false;
  /** What is being taken; only within one call of {@link ReplicateStream.message}. */
  #entry: ReplicateEntry | undefined;

  constructor(stream: MessageStream<ReplicateResponse>, port: ReplicatePort) {
    this.#stream = stream;
    this.#port = port;
    this.#creditBytes = port.limits.replicateWindowBytes;
    this.#schedule();
  }

  message(request: ReplicateRequest): void {
    for (const entry of request.entries) {
      this.#entry = entry;
      this.#take(entry);
      this.#creditBytes += entry.frames.length;
    }
    this.#entry = undefined;
    this.#schedule();
  }

  drain(): void {
    this.#isBlocked = false;
    this.#schedule();
  }

  closed(): void {
    this.#isClosed = true;
    this.#stream.end();
    this.#grown.clear();
    this.#refusals = [];
  }

  #take(entry: ReplicateEntry): void {
    const { epoch, previousLength, baseOffset } = entry;
    const segmentId = segmentIdOfBytes(entry.segmentId);
    const replica = this.#port.replica(segmentId);
    if (replica === undefined) {
      const message = `this journal has no replica of segment ${segmentId}`;
      this.#refuse(entry, undefined, new OperatingError('SEGMENT_UNKNOWN', message));
      return;
    }
    replica.upstream = this;
    try {
      const records = countRecords(entry.frames);
      const event = { epoch, baseOffset, previousLength, records };
      this.#port.driver.run(replica, { kind: 'replicate', ...event });
    } catch (thrown) {
      this.#refuse(entry, replica, operatingErrorOf(thrown));
    }
  }

  /** As much as there is room for; what fails is told with the length that was reached. */
  store(replica: Replica): void {
    const entry = this.#entry;
    if (entry === undefined) return;
    const { driver } = this.#port;
    let failure: OperatingError | undefined;
    try {
      storeFrames(this.#port.storage, replica, entry);
    } catch (thrown) {
      failure = operatingErrorOf(thrown);
    }
    this.#port.follows(replica);
    const { length } = replica.stored;
    driver.run(replica, { kind: 'stored', length, commitLength: entry.commitLength });
    if (failure !== undefined) this.#refuse(entry, replica, failure);
  }

  confirm(replica: Replica): void {
    if (this.#isClosed) return;
    this.#grown.add(replica);
    this.#schedule();
  }

  reject(replica: Replica, error: OperatingError): void {
    if (this.#entry !== undefined) this.#refuse(this.#entry, replica, error);
  }

  #refuse(entry: ReplicateEntry, replica: Replica | undefined, error: OperatingError): void {
    if (this.#isClosed) return;
    this.#refusals.push({
      segmentId: entry.segmentId,
      epoch: entry.epoch,
      status: toStatus(error),
      length: replica?.stored.length ?? 0,
      durableLength: 0,
    });
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isBlocked || this.#isClosed) return;
    this.#isScheduled = true;
    this.#port.flusher.schedule(this);
  }

  /** One message a turn, and none that says nothing. */
  flush(): void {
    this.#isScheduled = false;
    if (this.#isClosed || this.#isBlocked) return;
    const results = this.#refusals;
    this.#refusals = [];
    for (const replica of this.#grown) results.push(resultOf(replica));
    this.#grown.clear();
    const creditBytes = this.#creditBytes;
    this.#creditBytes = 0;
    if (results.length === 0 && creditBytes === 0) return;
    this.#isBlocked = !this.#stream.send({ results, creditBytes });
  }
}

function resultOf({ stored, state }: Replica): ReplicateResult {
  const { segmentId, epoch } = stored.manifest;
  // A fence may have come since: then nothing is confirmed any more (I5).
  const isFenced = state.fencedEpoch > epoch;
  return {
    segmentId: segmentIdToBytes(segmentId),
    epoch,
    status: undefined,
    length: stored.length,
    durableLength: isFenced ? 0 : Math.min(stored.durableLength, state.length),
  };
}
