/** Where things stand in the store (docs/journal.md 2.1, and packages/placement/DESIGN.md). */
export const prefixes = {
  node: 'node/',
  topic: 'topic/',
  shard: 'shard/',
  coordinator: 'coordinator/',
  hold: 'hold/',
  /** Segments that left their chain and whose replicas are being deleted. */
  deleting: 'deleting/',
  /** Topics whose shards are being deleted. */
  topicDeletion: 'topic-deletion/',
  /** Journals that were removed: their ids are never used again. */
  removedNode: 'removed-node/',
} as const;

export type KeyKind = keyof typeof prefixes;

/** Width of numbers in keys, so that byte order is number order up to 2^53. */
const width = 20;

export const clusterKey = 'cluster';
export const nodeKey = (nodeId: string): string => `${prefixes.node}${nodeId}`;
export const removedNodeKey = (nodeId: string): string => `${prefixes.removedNode}${nodeId}`;
export const topicKey = (name: string): string => `${prefixes.topic}${name}`;
export const shardKey = (shardId: number): string => `${prefixes.shard}${padded(shardId)}`;
export const deletingKey = (segmentId: Buffer): string =>
  `${prefixes.deleting}${segmentId.toString('hex')}`;
export const topicDeletionKey = (topicId: Buffer): string =>
  `${prefixes.topicDeletion}${topicId.toString('hex')}`;
/** Owner of an MQTT prefix: its value is the topic's name. */
export const mqttPrefixKey = (prefix: string): string =>
  `mqtt-prefix/${encodeURIComponent(prefix)}`;
/** An order of an operator that may have lost records. */
export const auditKey = (atMs: number, shardId: number): string =>
  `audit/${padded(atMs)}/${padded(shardId)}`;
export const coordinatorKey = (kind: string, index: number): string =>
  `${prefixes.coordinator}${kind}/${padded(index)}`;
export const holdsPrefix = (shardId: number): string => `${prefixes.hold}${padded(shardId)}/`;
export const holdKey = (shardId: number, holder: string): string =>
  `${holdsPrefix(shardId)}${encodeURIComponent(holder)}`;

/** Sealed segments of all chains. */
export const allSegmentsPrefix = 'seg/';
/** Sealed segments of a chain, in the order of their offsets. */
export const segmentsPrefix = (shardId: number): string =>
  `${allSegmentsPrefix}${padded(shardId)}/`;
/** By the end, so that the segment which holds an offset is the first behind it. */
export const segmentKey = (shardId: number, endOffset: number, segmentId: Buffer): string =>
  `${segmentsPrefix(shardId)}${padded(endOffset)}/${segmentId.toString('hex')}`;
/** A key behind all segments that end at or below an offset, and before the others. */
export const beforeOffset = (shardId: number, offset: number): string =>
  `${segmentsPrefix(shardId)}${padded(offset)}/~`;

/** What a key is about; undefined for kinds that nobody keeps in memory. */
export function kindOfKey(key: string): KeyKind | undefined {
  const prefix = key.slice(0, key.indexOf('/') + 1);
  const kinds = Object.keys(prefixes) as KeyKind[];
  return kinds.find((kind) => prefixes[kind] === prefix);
}

/** The part of a key behind its kind. */
export function nameOfKey(key: string): string {
  return key.slice(key.indexOf('/') + 1);
}

export function shardIdOfKey(key: string): number {
  return Number(key.split('/')[1]);
}

export function holderOfKey(key: string): string {
  return decodeURIComponent(key.split('/')[2] ?? '');
}

function padded(value: number): string {
  return String(value).padStart(width, '0');
}
