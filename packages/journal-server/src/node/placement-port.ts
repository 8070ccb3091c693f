import type { PlacementClient } from '@robustmq/placement-client';
import type { CatalogListener } from '@robustmq/placement-client';
import type { Node, Shard } from '@robustmq/rpc';

/** What a journal asks of placement: a part of {@link PlacementClient}, so that tests can stand in for it. */
export interface PlacementPort extends Pick<
  PlacementClient,
  'connected' | 'prepareRolls' | 'rollSegments' | 'resolveShards' | 'reportUnreachable'
> {
  readonly catalog: {
    node(nodeId: string): Node | undefined;
    shard(shardId: number): Shard | undefined;
    onChange(listener: CatalogListener): () => void;
  };
}
