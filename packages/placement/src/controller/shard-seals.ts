import { type Clock, type Logger, OperatingError } from '@robustmq/core';
import { type Segment, type Shard, StoredAudit, type UnsafeSeal } from '@robustmq/rpc';
import { unsealedSegment } from '../core/chain.ts';
import { auditKey } from './keys.ts';
import { type Ledger, put } from './ledger.ts';
import type { Sealer } from './sealer.ts';

export interface ShardSealsOptions {
  readonly ledger: Ledger;
  readonly sealer: Sealer;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Seals that an operator orders. */
export class ShardSeals {
  readonly #options: ShardSealsOptions;

  constructor(options: ShardSealsOptions) {
    this.#options = options;
  }

  /**
   * Seals the unsealed segment of a shard, if it has one. Throws NOT_FOUND, and why it cannot be sealed:
   * UNAVAILABLE when too few replicas answer, which an unsafe order overrides.
   */
  async seal(shardId: number, unsafe: UnsafeSeal | undefined): Promise<void> {
    const { sealer } = this.#options;
    const error = (await sealer.seal([shardId])).get(shardId);
    const shard = this.#shard(shardId);
    const segment = unsealedSegment(shard);
    if (segment === undefined) return;
    const isOverridden = unsafe !== undefined && error?.code === 'UNAVAILABLE';
    if (!isOverridden) throw error ?? new OperatingError('CONFLICT', 'a new segment was opened');
    await this.#record(shard, segment, unsafe);
    const outcome = await sealer.sealUnsafely(shardId, unsafe.endOffsetMin);
    if (outcome !== undefined) throw outcome;
  }

  /** The record is there before anything is done, and stays whatever becomes of the order. */
  async #record(shard: Shard, segment: Segment, unsafe: UnsafeSeal): Promise<void> {
    const { ledger, clock, logger } = this.#options;
    const isThere = (nodeId: string): boolean => ledger.image.liveNode(nodeId) !== undefined;
    const audit: StoredAudit = {
      atMs: clock.wallMs(),
      action: 'unsafe-seal',
      orderedBy: unsafe.orderedBy,
      shardId: shard.shardId,
      topic: shard.topic,
      partition: shard.partition,
      segmentId: segment.segmentId,
      baseOffset: segment.baseOffset,
      endOffsetMin: unsafe.endOffsetMin,
      presentNodeIds: segment.replicaNodeIds.filter(isThere),
      absentNodeIds: segment.replicaNodeIds.filter((nodeId) => !isThere(nodeId)),
    };
    const { segmentId, ...fields } = audit;
    const message = 'an operator seals with too few replicas: acknowledged records may be lost';
    logger.error({ ...fields, segmentId: segmentId.toString('hex') }, message);
    const key = auditKey(audit.atMs, shard.shardId);
    await ledger.transact([], [put(key, StoredAudit.encode(audit))]);
  }

  #shard(shardId: number): Shard {
    const shard = this.#options.ledger.image.shards.get(shardId)?.value.shard;
    if (shard === undefined) throw new OperatingError('NOT_FOUND', `there is no shard ${shardId}`);
    return shard;
  }
}
