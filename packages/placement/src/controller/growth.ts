import type { Logger } from '@robustmq/core';
import { SegmentState } from '@robustmq/rpc';
import { unsealedSegment } from '../core/chain.ts';
import { readTopicConfig } from '../core/topic-config.ts';
import type { Image } from './image.ts';
import type { NodeRegistry } from './node-registry.ts';
import type { Sealer } from './sealer.ts';

export interface GrowthOptions {
  readonly image: Image;
  readonly nodes: Pick<NodeRegistry, 'journalCandidates' | 'isOverdue'>;
  readonly sealer: Pick<Sealer, 'seal'>;
  readonly logger: Logger;
}

/** Segments that are sealed in one pass, so that clients are never sent elsewhere all at once. */
const segmentsPerPass = 200;

/**
 * Ends open segments that have fewer live replicas than their topic wants and the journals could hold, so
 * that their successors have them all: after a cluster has grown, or a journal was lost and another is
 * there. Copies nothing. A journal counts once it was there in two passes, so that one that comes and goes
 * ends no segments.
 */
export class Growth {
  readonly #options: GrowthOptions;
  #before: ReadonlySet<string> = new Set();

  constructor(options: GrowthOptions) {
    this.#options = options;
  }

  async pass(): Promise<void> {
    const { image, nodes, sealer, logger } = this.#options;
    const candidates = nodes.journalCandidates().map(({ nodeId }) => nodeId);
    const now = new Set(candidates.filter((nodeId) => !nodes.isOverdue(nodeId)));
    const steady = [...now].filter((nodeId) => this.#before.has(nodeId)).length;
    this.#before = now;
    const due: number[] = [];
    for (const shardId of image.unsealed) {
      if (due.length < segmentsPerPass && this.#isBelow(shardId, steady)) due.push(shardId);
    }
    if (due.length === 0) return;
    logger.info({ segments: due.length, journals: steady }, 'segments end to get more replicas');
    await sealer.seal(due);
  }

  #isBelow(shardId: number, journals: number): boolean {
    const { image } = this.#options;
    const shard = image.shards.get(shardId)?.value.shard;
    const segment = shard && unsealedSegment(shard);
    if (segment?.state !== SegmentState.OPEN) return false;
    const { replicationFactor } = readTopicConfig(image.topicOf(shardId)?.config ?? {});
    const wanted = Math.min(replicationFactor, journals);
    const live = segment.replicaNodeIds.filter((nodeId) => image.liveNode(nodeId) !== undefined);
    return live.length < wanted;
  }
}
