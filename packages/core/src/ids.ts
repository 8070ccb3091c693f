/** Branded ids. A cast to one of these happens where the id is made or decoded, nowhere else. */
declare const brand: unique symbol;
type Brand<T, B extends string> = T & { readonly [brand]: B };

/** Number of a shard, given by placement, never reused. At most 2^53 - 1. */
export type ShardId = Brand<number, 'ShardId'>;
/** Position of a record in a shard. At most 2^53 - 1; `bigint` stays inside the codecs. */
export type Offset = Brand<number, 'Offset'>;
/** A number that only grows; the holder of a lower one is fenced. Fits in u32. */
export type Epoch = Brand<number, 'Epoch'>;
/** 128 random bits as 32 lower-case hex digits, never reused. File names are made from it alone. */
export type SegmentId = Brand<string, 'SegmentId'>;
/** Name of a broker or journal, unique in the cluster: `[a-z0-9-]{1,64}`. */
export type NodeId = Brand<string, 'NodeId'>;
/** Grows with every start of a node. A new one ends whatever the old one held. */
export type Incarnation = Brand<number, 'Incarnation'>;
/** Revision of the metadata store: every committed transaction makes a larger one. */
export type Revision = Brand<number, 'Revision'>;
/** Producer id of a record batch; -1 when the producer is not idempotent. */
export type ProducerId = Brand<number, 'ProducerId'>;

export const shardId = (value: number): ShardId => value as ShardId;
export const offset = (value: number): Offset => value as Offset;
export const epoch = (value: number): Epoch => value as Epoch;
export const segmentId = (value: string): SegmentId => value as SegmentId;
export const nodeId = (value: string): NodeId => value as NodeId;
export const incarnation = (value: number): Incarnation => value as Incarnation;
export const revision = (value: number): Revision => value as Revision;
export const producerId = (value: number): ProducerId => value as ProducerId;
