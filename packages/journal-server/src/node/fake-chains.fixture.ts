import { OperatingError } from '@robustmq/core';
import type {
  CatalogListener,
  PrepareOrder,
  RollOrder,
  ShardOutcome,
} from '@robustmq/placement-client';
import {
  type Authority,
  journalControlMethods,
  type RollSegment,
  type RpcClient,
  type Segment,
  SegmentState,
  type Shard,
  type Status,
} from '@robustmq/rpc';
import type { JournalStorage } from '../storage/storage.ts';
import type { PlacementPort } from './placement-port.ts';

/** Placement with one journal and no store: chains of shards, opened and rolled as the real one does. */
export class FakeChains implements PlacementPort {
  /** What the journal has warned of. */
  readonly warnings: string[] = [];
  connected = true;
  readonly authority: Authority = { clusterId: 'cluster-1', placementEpoch: 1, lineage: [] };
  readonly noStatus: Status = {
    code: 0,
    message: '',
    hintNodeId: '',
    hintEpoch: 0,
    retryAfterMs: 0,
    earliestOffset: 0,
  };
  readonly rolls: RollOrder[] = [];
  readonly preparations: PrepareOrder[] = [];
  /** What a next segment is refused with; taken out one by one. */
  readonly prepareErrors: OperatingError[] = [];
  /** What a roll answers instead of being carried out; taken out one by one. */
  readonly rollErrors: OperatingError[] = [];
  /** A roll is carried out, and its answer is lost. */
  losesAnswers = false;
  policy = { segmentBytes: 0, segmentMs: 0 };
  readonly #shards = new Map<number, Shard>();
  readonly #listeners = new Set<CatalogListener>();
  #storage: JournalStorage | undefined;
  #client: RpcClient | undefined;
  #lastSegment = 0;

  readonly catalog = {
    node: (): undefined => undefined,
    shard: (shardId: number): Shard | undefined => this.#shards.get(shardId),
    onChange: (listener: CatalogListener): (() => void) => {
      this.#listeners.add(listener);
      return () => this.#listeners.delete(listener);
    },
  };

  reportUnreachable(): Promise<void> {
    return Promise.resolve();
  }

  attach(storage: JournalStorage, client: RpcClient): void {
    this.#storage = storage;
    this.#client = client;
  }

  shard(shardId: number): Shard {
    const known = this.#shards.get(shardId);
    if (known !== undefined) return known;
    const shard: Shard = {
      shardId,
      topic: 'topic',
      partition: 0,
      epoch: 0,
      trimOffset: 0,
      endOffset: 0,
      segments: [],
    };
    this.#shards.set(shardId, shard);
    return shard;
  }

  /** Prepares and activates the next segment of a shard whose last one is sealed. */
  async openNext(shardId: number): Promise<Segment> {
    const { storage, client } = this.#attached();
    const shard = this.shard(shardId);
    shard.epoch++;
    const segmentId = Buffer.alloc(16);
    segmentId.writeUInt32BE(++this.#lastSegment);
    const replicaNodeIds = [storage.nodeId];
    const { epoch } = shard;
    const prepared = await client.call(journalControlMethods.prepare, {
      authority: this.authority,
      replicas: [{ segmentId, shardId, epoch, replicaNodeIds, ackQuorum: 1 }],
    });
    throwUnlessDone(prepared.status, prepared.results);
    const previous = shard.segments.at(-1);
    const segment: Segment = {
      segmentId,
      shardId,
      baseOffset: shard.endOffset,
      endOffset: 0,
      state: SegmentState.OPEN,
      epoch,
      sealEpoch: 0,
      leaderNodeId: storage.nodeId,
      leaderIncarnation: storage.incarnation,
      replicaNodeIds,
      ackQuorum: 1,
      fullNodeIds: [],
      generation: 0,
      sizeBytes: 0,
      maxTimestampMs: 0,
      sealedAtMs: 0,
    };
    shard.segments.push(segment);
    const activated = await client.call(journalControlMethods.activate, {
      authority: this.authority,
      segments: [
        {
          segmentId,
          epoch,
          baseOffset: segment.baseOffset,
          incarnation: storage.incarnation,
          previousSegmentId: previous?.segmentId ?? Buffer.alloc(0),
          previousFullNodes: [],
          policy: this.policy,
        },
      ],
    });
    throwUnlessDone(activated.status, activated.results);
    return segment;
  }

  /** Fences, seals and notifies, as after the loss of a leader. */
  async sealLast(shardId: number): Promise<number> {
    const { client } = this.#attached();
    const shard = this.shard(shardId);
    const segment = shard.segments.at(-1);
    if (segment === undefined) throw new Error('the shard has a segment');
    const epoch = ++shard.epoch;
    const { segmentId, baseOffset } = segment;
    const fenced = await client.call(journalControlMethods.fence, {
      authority: this.authority,
      segments: [{ segmentId, epoch }],
      order: 0,
    });
    const [result] = fenced.results;
    throwUnlessDone(fenced.status, [result?.status ?? this.noStatus]);
    const length = result?.length ?? 0;
    this.#end(shard, segment, baseOffset + length);
    await this.#notify(segment, epoch);
    return length;
  }

  async #notify({ segmentId, baseOffset, endOffset }: Segment, epoch: number): Promise<void> {
    const length = endOffset - baseOffset;
    const sealed = await this.#attached().client.call(journalControlMethods.sealNotify, {
      authority: this.authority,
      segments: [{ segmentId, length, baseOffset, epoch }],
    });
    throwUnlessDone(sealed.status, sealed.results);
  }

  prepareRolls(order: PrepareOrder): Promise<(OperatingError | undefined)[]> {
    this.preparations.push(order);
    return Promise.resolve(order.segments.map(() => this.prepareErrors.shift()));
  }

  async rollSegments(order: RollOrder): Promise<ShardOutcome[]> {
    this.rolls.push(order);
    const outcomes: ShardOutcome[] = [];
    for (const item of order.segments) outcomes.push(await this.#roll(item));
    if (this.losesAnswers) {
      this.losesAnswers = false;
      throw new OperatingError('INDETERMINATE', 'the answer was lost');
    }
    return outcomes;
  }

  async #roll(item: RollSegment): Promise<ShardOutcome> {
    const error = this.rollErrors.shift();
    if (error !== undefined) return error;
    const shard = this.shard(item.shardId);
    const segment = shard.segments.find(({ segmentId }) => segmentId.equals(item.segmentId));
    if (segment === undefined) throw new Error('only known segments are rolled');
    if (segment.state === SegmentState.SEALED) return shard;
    shard.epoch++;
    this.#end(shard, segment, item.endOffset);
    // The notice may overtake the next leader's activation and the answer.
    await this.#notify(segment, shard.epoch);
    if (item.openNext) await this.openNext(item.shardId);
    return shard;
  }

  #end(shard: Shard, segment: Segment, endOffset: number): void {
    segment.state = SegmentState.SEALED;
    segment.endOffset = endOffset;
    shard.endOffset = endOffset;
  }

  resolveShards(shardIds: readonly number[]): Promise<ShardOutcome[]> {
    return Promise.resolve(shardIds.map((shardId) => this.shard(shardId)));
  }

  /** The watch shows a chain. */
  tell(shardId: number): void {
    const after = this.shard(shardId);
    for (const listener of this.#listeners) listener({ kind: 'shard', before: undefined, after });
  }

  #attached(): { storage: JournalStorage; client: RpcClient } {
    if (this.#storage === undefined || this.#client === undefined) {
      throw new Error('the journal is attached first');
    }
    return { storage: this.#storage, client: this.#client };
  }
}

function throwUnlessDone(whole: Status | undefined, results: readonly Status[]): void {
  for (const status of [whole, ...results]) {
    if (status !== undefined && status.code !== 0) throw new Error(status.message);
  }
}
