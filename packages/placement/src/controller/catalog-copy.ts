import { CatalogCopy, type Hold, NodeRole } from '@robustmq/rpc';
import { type Image, shardOf } from './image.ts';

/** What journals keep of the catalog: see {@link CatalogCopy}. */
export function copyOf(image: Image): CatalogCopy {
  return CatalogCopy.fromPartial({
    nextShardId: image.cluster?.value.nextShardId ?? 0,
    nextProducerId: image.cluster?.value.nextProducerId ?? 0,
    journals: valuesOf(image.nodes).flatMap(({ node }) =>
      node?.role === NodeRole.JOURNAL ? [node] : [],
    ),
    topics: valuesOf(image.topics),
    topicDeletions: valuesOf(image.topicDeletions),
    shards: valuesOf(image.shards).map((stored) => {
      const { shardId, epoch, trimOffset, endOffset } = shardOf(stored);
      return { shardId, epoch, trimOffset, endOffset };
    }),
    deleting: valuesOf(image.deleting),
    coordinators: [...image.coordinators.values()].flatMap(valuesOf),
    holds: holdsOf(image),
    removedNodes: valuesOf(image.removedNodes),
  });
}

function valuesOf<Value>(rows: ReadonlyMap<unknown, { readonly value: Value }>): Value[] {
  return Array.from(rows.values(), (row) => row.value);
}

function holdsOf(image: Image): Hold[] {
  const holds: Hold[] = [];
  for (const [shardId, rows] of image.holds) {
    for (const [holder, { value }] of rows) holds.push({ holder, shardId, offset: value.offset });
  }
  return holds;
}
