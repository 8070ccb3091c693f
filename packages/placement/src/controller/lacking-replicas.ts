import type { ReplicaSummary, Segment } from '@robustmq/rpc';
import { unsealedSegment } from '../core/chain.ts';
import type { Image } from './image.ts';

/**
 * What journals lack of open segments. A follower that has come back without its disk may go unnoticed by a
 * leader that appends nothing more, and be named as full when the segment is rolled: nobody would look again.
 */
export class LackingReplicas {
  readonly #image: Pick<Image, 'shards'>;
  /** Segment ids in hex by journal, as it was compared last. */
  readonly #lacking = new Map<string, Set<string>>();

  constructor(image: Pick<Image, 'shards'>) {
    this.#image = image;
  }

  /** What a journal has, by segment id in hex; to be told before its sealed segments are looked at. */
  heard(nodeId: string, replicas: ReadonlyMap<string, ReplicaSummary>): void {
    const lacking = new Set<string>();
    for (const { value } of this.#image.shards.values()) {
      const open = value.shard && unsealedSegment(value.shard);
      if (open?.replicaNodeIds.includes(nodeId) !== true) continue;
      const hex = open.segmentId.toString('hex');
      if (replicas.get(hex)?.damaged !== false) lacking.add(hex);
    }
    this.#lacking.set(nodeId, lacking);
  }

  /** Journals that have to be compared once more, now that a segment has been sealed. */
  sealed({ segmentId, fullNodeIds }: Segment): string[] {
    const hex = segmentId.toString('hex');
    const suspects: string[] = [];
    for (const [nodeId, lacking] of this.#lacking) {
      if (lacking.delete(hex) && fullNodeIds.includes(nodeId)) suspects.push(nodeId);
    }
    return suspects;
  }

  forget(nodeId: string): void {
    this.#lacking.delete(nodeId);
  }
}
