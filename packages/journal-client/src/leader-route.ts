import { NodeState, type Segment, SegmentState } from '@robustmq/rpc';
import type { Catalog } from '@robustmq/placement-client';

/** A journal that can be asked. */
export interface JournalPlace {
  readonly nodeId: string;
  readonly incarnation: number;
  /** HOST:PORT of its gRPC server. */
  readonly address: string;
}

/** Who leads the open segment of a shard. */
export interface LeaderRoute extends JournalPlace {
  /** Epoch of the open segment. */
  readonly epoch: number;
  /** Where the open segment begins. */
  readonly baseOffset: number;
}

/** The open segment of a shard as far as the catalog knows. */
export function openSegment(catalog: Catalog, shardId: number): Segment | undefined {
  const last = catalog.shard(shardId)?.segments.at(-1);
  return last?.state === SegmentState.OPEN ? last : undefined;
}

/**
 * Who leads a shard. Undefined when no segment is open, or when its leader is known to have gone:
 * another incarnation never leads it, so placement has to be asked.
 */
export function leaderRoute(catalog: Catalog, shardId: number): LeaderRoute | undefined {
  const segment = openSegment(catalog, shardId);
  if (segment === undefined) return undefined;
  const place = journalPlace(catalog, segment.leaderNodeId);
  if (place === undefined || place.incarnation !== segment.leaderIncarnation) return undefined;
  return { ...place, epoch: segment.epoch, baseOffset: segment.baseOffset };
}

/** Where a journal is; undefined when it is not known or down. */
export function journalPlace(catalog: Catalog, nodeId: string): JournalPlace | undefined {
  const node = catalog.node(nodeId);
  if (node === undefined || node.state === NodeState.DOWN) return undefined;
  return { nodeId, incarnation: node.incarnation, address: node.address };
}

export function sameLeader(a: LeaderRoute, b: LeaderRoute): boolean {
  return a.nodeId === b.nodeId && a.incarnation === b.incarnation && a.address === b.address;
}
