import { OperatingError, type SegmentId } from '@robustmq/core';
import { batchMaxTimestampMs, FrameCursor } from '@robustmq/record-batch';
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

const cursor = new FrameCursor();

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
      this.#storeFrames(replica, entry);
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

  /**
   * The chain of the first frame that is new covers everything before it: if it fits, the log is a prefix
   * of the leader's (I4).
   */
  #storeFrames(replica: Replica, { frames, previousLength }: ReplicateEntry): void {
    const { stored } = replica;
    let index = previousLength;
    cursor.reset(frames);
    while (cursor.next() === 'frame') {
      const records = recordsOf(cursor);
      // A snapshot at the end of the log may come twice, after a crash between it and its batch.
      const isThere = index < stored.length && index + records <= stored.length;
      if (!isThere) this.#storeFrame(replica, index, records);
      index += records;
    }
  }

  #storeFrame(replica: Replica, index: number, records: number): void {
    const { stored, state } = replica;
    const { segmentId, epoch } = stored.manifest;
    const fault = index === stored.length ? cursor.verify(stored.chain) : 'chain';
    const isNext = records === 0 || cursor.baseOffset === (state.baseOffset ?? 0) + index;
    if (fault === 'chain' || !isNext || cursor.epoch !== epoch) {
      const message = `the leader's record ${index} of segment ${segmentId} does not follow the ${stored.length} that are here`;
      throw new OperatingError('DAMAGED', message);
    }
    if (fault !== undefined) throw corrupt(fault);
    const { buffer, position, payloadStart, end, chain, appendTimeMs } = cursor;
    this.#port.storage.append(stored, {
      header: buffer.subarray(position, payloadStart),
      body: buffer.subarray(payloadStart, end),
      records,
      chain,
      maxTimestampMs:
        records === 0 ? stored.maxTimestampMs : batchMaxTimestampMs(buffer, payloadStart),
      appendTimeMs,
    });
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

/** Records of whole frames. Throws CORRUPT_BATCH; the checksums are verified when they are stored. */
function countRecords(frames: Buffer): number {
  let records = 0;
  cursor.reset(frames);
  for (;;) {
    const step = cursor.next();
    if (step === 'end') return records;
    if (step !== 'frame') throw corrupt(cursor.fault ?? step);
    records += recordsOf(cursor);
  }
}

function recordsOf({ kind, baseOffset, lastOffset }: FrameCursor): number {
  return kind === 'batch' ? lastOffset - baseOffset + 1 : 0;
}

function corrupt(fault: string): OperatingError {
  return new OperatingError('CORRUPT_BATCH', `a frame from the leader fails its check (${fault})`);
}
