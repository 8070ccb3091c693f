import { type Clock, type Logger, OperatingError, type SegmentId } from '@robustmq/core';
import {
  journalReplicaMethods,
  type MessageStream,
  NodeState,
  type ReplicateEntry,
  type ReplicateRequest,
  type ReplicateResponse,
  type ReplicateResult,
  refusalOf,
  type RpcClient,
  segmentIdOfBytes,
  segmentIdToBytes,
  type StreamHandlers,
  type Transport,
} from '@robustmq/rpc';
import type { JournalStorage, StorageRead } from '../storage/storage.ts';
import type { Flushable, Flusher } from './flusher.ts';
import type { JournalLimits } from './journal-limits.ts';
import { operatingErrorOf } from './operating-error.ts';
import type { PlacementPort } from './placement-port.ts';
import type { Replica } from './replica.ts';
import type { ReplicaDriver } from './replica-driver.ts';

export interface FollowerLinkOptions {
  readonly storage: JournalStorage;
  readonly placement: PlacementPort;
  readonly transport: Transport;
  readonly driver: ReplicaDriver;
  readonly flusher: Flusher;
  readonly clock: Clock;
  readonly limits: JournalLimits;
  readonly logger: Logger;
}

/** A segment on its way to one follower. */
interface Following {
  readonly replica: Replica;
  /** The follower's place in the replica set. */
  readonly replicaIndex: number;
  /** Records sent on this stream; everything before was confirmed or is under way. */
  sentLength: number;
  isReading: boolean;
  /** A length that the follower has not confirmed yet, and when the log had it. */
  mark: { readonly length: number; readonly atMs: number } | undefined;
}

/** How far a follower is behind the leaders of this node. */
export interface FollowerLag {
  readonly nodeId: string;
  /** Records that it has not confirmed, of all segments. */
  readonly records: number;
  /** Age of the oldest of them, to within one answer. */
  readonly behindMs: number;
  /** How long it has owed an answer and sent nothing; 0 when it owes none. */
  readonly silentMs: number;
}

/**
 * The leader's end of the Replicate stream to one journal, for all segments that it follows here. Sends
 * what was written in a turn in one message, as far as the follower has granted credit; what memory has
 * let go is read from the segment file. A stream that is lost is opened again, and goes on for each
 * segment behind what is known to be durable there.
 */
export class FollowerLink implements StreamHandlers<ReplicateResponse>, Flushable {
  readonly #nodeId: string;
  readonly #options: FollowerLinkOptions;
  readonly #followings = new Map<SegmentId, Following>();
  /** Segments with frames to send, the one that waits longest first. */
  readonly #behind = new Set<Following>();
  #client: RpcClient | undefined;
  #stream: MessageStream<ReplicateRequest> | undefined;
  #creditBytes = 0;
  #readsRunning = 0;
  #isBlocked = false;
  #isScheduled = false;
  #isEnded = false;
  /** It was said that the follower is away. */
  #isAway = false;
  /** Bytes of frames that were sent on this stream and not granted again. */
  #owedBytes = 0;
  /** Since when it owes an answer without having sent anything: for frames, or for the stream itself. */
  #owedSinceMs: number | undefined;
  #cancelRetry: (() => void) | undefined;
  /** How long the next new stream may be without an answer. */
  #patienceMs: number;
  #cancelPatience: (() => void) | undefined;

  constructor(nodeId: string, options: FollowerLinkOptions) {
    this.#nodeId = nodeId;
    this.#options = options;
    this.#patienceMs = options.limits.replicateOpenMs;
  }

  /** Nothing is to be told of it: it follows nothing, and is not known to be away. */
  get isIdle(): boolean {
    return this.#followings.size === 0 && this.#owedSinceMs === undefined;
  }

  add(replica: Replica, replicaIndex: number): void {
    const { segmentId } = replica.stored.manifest;
    const following = { replica, replicaIndex, sentLength: 0, isReading: false, mark: undefined };
    this.#followings.set(segmentId, following);
    if (this.#stream === undefined && this.#cancelRetry === undefined) this.#open();
  }

  remove(replica: Replica): void {
    const { segmentId } = replica.stored.manifest;
    const following = this.#followings.get(segmentId);
    if (following === undefined) return;
    this.#followings.delete(segmentId);
    this.#behind.delete(following);
  }

  /** The log has grown. */
  written(replica: Replica): void {
    const following = this.#followings.get(replica.stored.manifest.segmentId);
    if (following === undefined) return;
    following.mark ??= this.#markAt(replica);
    this.#behind.add(following);
    this.#schedule();
  }

  lag(): FollowerLag {
    const nowMs = this.#options.clock.monotonicMs();
    let records = 0;
    let behindMs = 0;
    for (const { replica, replicaIndex, mark } of this.#followings.values()) {
      const { match, length } = replica.state;
      records += Math.max(0, length - (match[replicaIndex] ?? 0));
      if (mark !== undefined) behindMs = Math.max(behindMs, nowMs - mark.atMs);
    }
    const silentMs = Math.round(nowMs - (this.#owedSinceMs ?? nowMs));
    return { nodeId: this.#nodeId, records, behindMs: Math.round(behindMs), silentMs };
  }

  #owes(bytes: number): void {
    this.#owedBytes += bytes;
    this.#owedSinceMs ??= this.#options.clock.monotonicMs();
  }

  #markAt({ stored }: Replica): { length: number; atMs: number } {
    return { length: stored.length, atMs: this.#options.clock.monotonicMs() };
  }

  /** Whether the follower can be reached, takes frames of it, and does not have them all. */
  isBehind(replica: Replica): boolean {
    const following = this.#followings.get(replica.stored.manifest.segmentId);
    if (following === undefined || this.#stream === undefined || this.#isAway) return false;
    const { match, length } = replica.state;
    return (match[following.replicaIndex] ?? 0) < length;
  }

  async end(): Promise<void> {
    this.#isEnded = true;
    this.#cancelRetry?.();
    this.#cancelPatience?.();
    this.#followings.clear();
    this.#behind.clear();
    this.#stream?.cancel();
    this.#stream = undefined;
    await this.#client?.[Symbol.asyncDispose]();
  }

  // The stream.

  #open(): void {
    const { placement, transport, clock } = this.#options;
    const node = placement.catalog.node(this.#nodeId);
    if (node === undefined) return this.#retryLater();
    if (this.#client?.address !== node.address) {
      void this.#client?.[Symbol.asyncDispose]();
      this.#client = transport.connect(node.address, 'replication');
    }
    this.#creditBytes = 0;
    this.#isBlocked = false;
    // The first answer grants the window: until then the peer owes it.
    this.#owedBytes = 0;
    this.#owes(0);
    this.#stream = this.#client.open(journalReplicaMethods.replicate, this);
    this.#cancelPatience = clock.setTimer(this.#patienceMs, () => this.#reconnect());
    for (const following of this.#followings.values()) {
      following.sentLength = following.replica.state.match[following.replicaIndex] ?? 0;
      this.#behind.add(following);
    }
  }

  /**
   * Nothing came on the new stream: the connection may be one of before a cut, which TCP tries again only after
   * as long as the cut was. Ends the stream, too, which is retried.
   */
  #reconnect(): void {
    const { replicateOpenMsMax } = this.#options.limits;
    this.#patienceMs = Math.min(2 * this.#patienceMs, replicateOpenMsMax);
    const client = this.#client;
    this.#client = undefined;
    void client?.[Symbol.asyncDispose]();
  }

  message(response: ReplicateResponse): void {
    this.#isAway = false;
    this.#cancelPatience?.();
    this.#patienceMs = this.#options.limits.replicateOpenMs;
    this.#creditBytes += response.creditBytes;
    this.#answered(response.creditBytes);
    for (const result of response.results) this.#take(result);
    this.#schedule();
  }

  #answered(grantedBytes: number): void {
    this.#owedBytes = Math.max(0, this.#owedBytes - grantedBytes);
    const nowMs = this.#options.clock.monotonicMs();
    this.#owedSinceMs = this.#owedBytes > 0 ? nowMs : undefined;
  }

  drain(): void {
    this.#isBlocked = false;
    this.#schedule();
  }

  closed(error: OperatingError | undefined): void {
    this.#stream = undefined;
    this.#cancelPatience?.();
    if (this.#isEnded) return;
    if (error?.code === 'UNAVAILABLE') this.#report();
    if (!this.#isAway) {
      const fields = { nodeId: this.#nodeId, code: error?.code, segments: this.#followings.size };
      const message = 'a follower is away: it gets what it misses when it is back';
      this.#options.logger.warn(fields, message);
    }
    this.#isAway = true;
    this.#owes(0);
    this.#retryLater();
  }

  /** Placement asks the follower's address, and gives the others their replicas elsewhere if it is gone. */
  #report(): void {
    const { placement } = this.#options;
    const node = placement.catalog.node(this.#nodeId);
    if (node === undefined || node.state === NodeState.DOWN) return;
    void placement.reportUnreachable(node.nodeId, node.incarnation);
  }

  #retryLater(): void {
    const { clock, limits } = this.#options;
    this.#cancelRetry = clock.setTimer(limits.replicateRetryMs, () => {
      this.#cancelRetry = undefined;
      if (this.#followings.size > 0 || this.#isExpected()) this.#open();
      else this.#owedSinceMs = undefined;
    });
  }

  /** Whether the peer should be there: then it is tried until it answers, so that it is known when it does. */
  #isExpected(): boolean {
    const node = this.#options.placement.catalog.node(this.#nodeId);
    return node !== undefined && node.state !== NodeState.DOWN;
  }

  // Answers.

  #take(result: ReplicateResult): void {
    const following = this.#followings.get(segmentIdOfBytes(result.segmentId));
    if (following === undefined) return;
    const { replica, replicaIndex } = following;
    const refusal = refusalOf(result.status);
    if (refusal !== undefined) return this.#refused(following, refusal, result.length);
    const { epoch, durableLength } = result;
    if (durableLength > replica.state.length) {
      const message = `it has ${durableLength} records, its leader ${replica.state.length}`;
      return this.#giveUp(following, new OperatingError('DAMAGED', message));
    }
    if (following.mark !== undefined && durableLength >= following.mark.length) {
      const isBehind = durableLength < replica.stored.length;
      following.mark = isBehind ? this.#markAt(replica) : undefined;
    }
    this.#options.driver.run(replica, { kind: 'replicateAck', replicaIndex, epoch, durableLength });
  }

  #refused(following: Following, error: OperatingError, length: number): void {
    const { clock, limits, driver } = this.#options;
    const { replica } = following;
    switch (error.code) {
      case 'FENCED':
        driver.run(replica, { kind: 'close' });
        return;
      case 'CONFLICT':
        if (length > replica.state.length) return this.#giveUp(following, error);
        following.sentLength = length;
        this.#behind.add(following);
        return;
      case 'DISK_FULL':
      case 'RESOURCE_EXHAUSTED':
        this.#behind.delete(following);
        clock.setTimer(error.hint.retryAfterMs ?? limits.replicateRetryMs, () => {
          following.sentLength = length;
          this.written(replica);
        });
        return;
      default:
        this.#giveUp(following, error);
    }
  }

  /** The replica there is of no use; the segment goes on with the others. */
  #giveUp({ replica }: Following, error: OperatingError): void {
    const { segmentId } = replica.state.identity;
    const fields = { nodeId: this.#nodeId, segmentId, code: error.code, error: error.message };
    this.#options.logger.error(fields, 'a replica is lost: the segment goes on without it');
    this.remove(replica);
  }

  // Frames.

  #schedule(): void {
    if (this.#isScheduled || this.#isBlocked || this.#stream === undefined) return;
    if (this.#behind.size === 0 || this.#creditBytes <= 0) return;
    this.#isScheduled = true;
    this.#options.flusher.schedule(this);
  }

  flush(): void {
    this.#isScheduled = false;
    if (this.#stream === undefined || this.#isBlocked) return;
    const { replicateMessageBytesMax } = this.#options.limits;
    const entries: ReplicateEntry[] = [];
    let bytes = 0;
    // Who is put back is looked at in the next turn.
    const behind = Array.from(this.#behind);
    for (const following of behind) {
      if (bytes >= replicateMessageBytesMax || bytes >= this.#creditBytes) break;
      this.#behind.delete(following);
      const entry = this.#next(following);
      if (entry === undefined) continue;
      entries.push(entry);
      bytes += entry.frames.length;
    }
    if (entries.length === 0) return;
    this.#creditBytes -= bytes;
    this.#owes(bytes);
    this.#isBlocked = !this.#stream.send({ entries });
    this.#schedule();
  }

  /** The next frames of a segment, if they are in memory; it stays behind while there are more. */
  #next(following: Following): ReplicateEntry | undefined {
    const { storage, limits } = this.#options;
    const { replica, sentLength } = following;
    const { stored } = replica;
    if (following.isReading || sentLength >= stored.length) return undefined;
    if (this.#readsRunning >= limits.replicateReadsRunningMax) {
      this.#behind.add(following);
      return undefined;
    }
    const bytesMax = limits.replicateChunkBytesMax;
    const range = { fromIndex: sentLength, limitIndex: stored.length, bytesMax };
    try {
      const read = storage.read(stored, range);
      if (!(read instanceof Promise)) return this.#entryOf(following, read);
      void this.#readFrom(following, read);
    } catch (thrown) {
      // The leader's own replica is damaged: what the follower lacks cannot be read here any more.
      this.#giveUp(following, operatingErrorOf(thrown));
    }
    return undefined;
  }

  async #readFrom(following: Following, read: Promise<StorageRead>): Promise<void> {
    const { replica, sentLength } = following;
    const stream = this.#stream;
    following.isReading = true;
    this.#readsRunning++;
    try {
      const found = await read;
      const isWanted = this.#stream === stream && following.sentLength === sentLength;
      const isFollowed = this.#followings.get(replica.stored.manifest.segmentId) === following;
      if (isWanted && isFollowed && stream !== undefined) {
        const entry = this.#entryOf(following, found);
        this.#creditBytes -= entry.frames.length;
        this.#owes(entry.frames.length);
        if (!stream.send({ entries: [entry] })) this.#isBlocked = true;
      }
    } catch (thrown) {
      this.#giveUp(following, operatingErrorOf(thrown));
    } finally {
      following.isReading = false;
      this.#readsRunning--;
      this.written(replica);
    }
  }

  #entryOf(following: Following, { frames, nextIndex }: StorageRead): ReplicateEntry {
    const { replica, sentLength } = following;
    const { state, stored, baseOffset } = replica;
    following.sentLength = nextIndex;
    if (nextIndex < stored.length) this.#behind.add(following);
    return {
      segmentId: segmentIdToBytes(stored.manifest.segmentId),
      epoch: stored.manifest.epoch,
      previousLength: sentLength,
      frames: Buffer.concat(frames),
      commitLength: state.commitLength,
      baseOffset,
    };
  }
}
