import { assert, unreachable } from '@robustmq/core';
import {
  Coordinator,
  type Node,
  NodeState,
  Segment,
  StoredCluster,
  StoredHold,
  StoredNode,
  StoredShard,
  Topic,
} from '@robustmq/rpc';
import { unsealedSegment } from '../core/chain.ts';
import type { MetadataStore, StoredChange } from '../store/metadata-store.ts';
import {
  clusterKey,
  holderOfKey,
  type KeyKind,
  kindOfKey,
  nameOfKey,
  prefixes,
  shardIdOfKey,
} from './keys.ts';

/** What seldom changes and what everything else refers to. */
const catalogKinds: ReadonlySet<KeyKind> = new Set([
  'topic',
  'topicDeletion',
  'coordinator',
  'removedNode',
]);

/** A value as it is in the store, with the revision that a compare-and-swap needs. */
export interface Row<T> {
  readonly value: T;
  readonly revision: number;
}

/**
 * What placement keeps in memory of its store: everything but sealed segments that no view shows. It is
 * loaded at the start and follows each transaction; it may be behind the store by a turn, which costs a
 * conflict, never a wrong decision. Values are shared with answers and watches: never changed in place.
 */
export class Image {
  cluster: Row<StoredCluster> | undefined;
  readonly nodes = new Map<string, Row<StoredNode>>();
  /** Journals that an operator has removed, as they were. */
  readonly removedNodes = new Map<string, Row<StoredNode>>();
  readonly topics = new Map<string, Row<Topic>>();
  readonly shards = new Map<number, Row<StoredShard>>();
  /** By kind, then by index. */
  readonly coordinators = new Map<string, Map<number, Row<Coordinator>>>();
  /** By shard, then by holder: the first offset that is still needed. */
  readonly holds = new Map<number, Map<string, Row<StoredHold>>>();
  /** By segment id in hex. */
  readonly deleting = new Map<string, Row<Segment>>();
  /** By topic id in hex. */
  readonly topicDeletions = new Map<string, Row<Topic>>();
  /** Shards with a segment that is not sealed. */
  readonly unsealed = new Set<number>();
  /** Unsealed segments by the journal that leads them. */
  readonly #led = new Map<string, Set<number>>();
  /** Shards whose unsealed segment has a replica at a journal. */
  readonly #replicated = new Map<string, Set<number>>();
  #revision = 0;
  #catalogRevision = 0;

  /** Reads the whole store. Nobody may write meanwhile. */
  static async load(store: MetadataStore): Promise<Image> {
    const image = new Image();
    const cluster = await store.get(clusterKey);
    if (cluster !== undefined) image.apply({ kind: 'put', ...cluster });
    for (const prefix of Object.values(prefixes)) await image.#loadPrefix(store, prefix);
    return image;
  }

  /** Largest revision seen. */
  get revision(): number {
    return this.#revision;
  }

  /** Revision of the last change to a topic, a coordinator or a removed journal. */
  get catalogRevision(): number {
    return this.#catalogRevision;
  }

  /** Applies a change, unless something newer is known. */
  apply(change: StoredChange, deletedAt = 0): void {
    const revision = change.kind === 'put' ? change.revision : deletedAt;
    this.#revision = Math.max(this.#revision, revision);
    if (change.key === clusterKey && change.kind === 'put') {
      if ((this.cluster?.revision ?? 0) <= revision) {
        this.cluster = { value: StoredCluster.decode(change.value), revision };
      }
      return;
    }
    const kind = kindOfKey(change.key);
    if (kind === undefined) return;
    if (catalogKinds.has(kind)) this.#catalogRevision = Math.max(this.#catalogRevision, revision);
    this.#applyTo(kind, change);
  }

  node(nodeId: string): Node | undefined {
    return this.nodes.get(nodeId)?.value.node;
  }

  /** The node, if its lease is held. */
  liveNode(nodeId: string): Node | undefined {
    const node = this.node(nodeId);
    return node === undefined || node.state === NodeState.DOWN ? undefined : node;
  }

  /** Whether replicas should be on that journal: it is known and nobody has ordered to drain it. */
  isWantedOn(nodeId: string): boolean {
    const stored = this.nodes.get(nodeId)?.value;
    return stored !== undefined && stored.drain === undefined;
  }

  /** The topic of a shard, if the topic lives and has it. */
  topicOf(shardId: number): Topic | undefined {
    const shard = this.shards.get(shardId)?.value.shard;
    if (shard === undefined) return undefined;
    const topic = this.topics.get(shard.topic)?.value;
    return topic?.shardIds[shard.partition] === shardId ? topic : undefined;
  }

  /** Shards whose unsealed segment a journal leads, in whatever incarnation. */
  ledBy(nodeId: string): ReadonlySet<number> {
    return this.#led.get(nodeId) ?? new Set();
  }

  /** Shards whose unsealed segment has a replica at a journal, led by it or not. */
  replicatedBy(nodeId: string): ReadonlySet<number> {
    return this.#replicated.get(nodeId) ?? new Set();
  }

  /** The smallest offset that anybody still needs; undefined when nobody has said so. */
  holdOffset(shardId: number): number | undefined {
    const holds = this.holds.get(shardId);
    if (holds === undefined || holds.size === 0) return undefined;
    return Math.min(...[...holds.values()].map((row) => row.value.offset));
  }

  async #loadPrefix(store: MetadataStore, prefix: string): Promise<void> {
    let after: string | undefined;
    do {
      const { entries, revision } = await store.range(prefix, {
        limit: 1_000,
        ...(after !== undefined && { after }),
      });
      this.#revision = Math.max(this.#revision, revision);
      for (const entry of entries) this.apply({ kind: 'put', ...entry });
      after = entries.length === 1_000 ? entries.at(-1)?.key : undefined;
    } while (after !== undefined);
  }

  #applyTo(kind: KeyKind, change: StoredChange): void {
    const { key } = change;
    switch (kind) {
      case 'node':
        applyRow(this.nodes, nameOfKey(key), change, StoredNode);
        return;
      case 'removedNode':
        applyRow(this.removedNodes, nameOfKey(key), change, StoredNode);
        return;
      case 'topic':
        applyRow(this.topics, nameOfKey(key), change, Topic);
        return;
      case 'shard':
        this.#applyShard(shardIdOfKey(key), change);
        return;
      case 'coordinator': {
        const [ofKind = '', index] = nameOfKey(key).split('/');
        applyRow(innerMap(this.coordinators, ofKind), Number(index), change, Coordinator);
        return;
      }
      case 'hold':
        applyRow(innerMap(this.holds, shardIdOfKey(key)), holderOfKey(key), change, StoredHold);
        return;
      case 'deleting':
        applyRow(this.deleting, nameOfKey(key), change, Segment);
        return;
      case 'topicDeletion':
        applyRow(this.topicDeletions, nameOfKey(key), change, Topic);
        return;
      default:
        unreachable(kind);
    }
  }

  #applyShard(shardId: number, change: StoredChange): void {
    this.#forgetUnsealed(shardId);
    applyRow(this.shards, shardId, change, StoredShard);
    const shard = this.shards.get(shardId)?.value.shard;
    const segment = shard === undefined ? undefined : unsealedSegment(shard);
    if (segment === undefined) return;
    this.unsealed.add(shardId);
    addTo(this.#led, segment.leaderNodeId, shardId);
    for (const nodeId of segment.replicaNodeIds) addTo(this.#replicated, nodeId, shardId);
  }

  #forgetUnsealed(shardId: number): void {
    const shard = this.shards.get(shardId)?.value.shard;
    const segment = shard === undefined ? undefined : unsealedSegment(shard);
    if (segment === undefined) return;
    this.unsealed.delete(shardId);
    this.#led.get(segment.leaderNodeId)?.delete(shardId);
    for (const nodeId of segment.replicaNodeIds) this.#replicated.get(nodeId)?.delete(shardId);
  }
}

/** The shard of a stored row; always there. */
export function shardOf(stored: StoredShard): NonNullable<StoredShard['shard']> {
  assert(stored.shard !== undefined, 'a stored shard has its chain');
  return stored.shard;
}

function applyRow<K, T>(
  rows: Map<K, Row<T>>,
  key: K,
  change: StoredChange,
  codec: { decode(bytes: Buffer): T },
): void {
  if (change.kind === 'delete') {
    rows.delete(key);
    return;
  }
  const known = rows.get(key);
  if (known !== undefined && known.revision >= change.revision) return;
  rows.set(key, { value: codec.decode(change.value), revision: change.revision });
}

function addTo(sets: Map<string, Set<number>>, key: string, shardId: number): void {
  const set = sets.get(key);
  if (set === undefined) sets.set(key, new Set([shardId]));
  else set.add(shardId);
}

function innerMap<K, K2, V>(outer: Map<K, Map<K2, V>>, key: K): Map<K2, V> {
  let inner = outer.get(key);
  if (inner === undefined) {
    inner = new Map();
    outer.set(key, inner);
  }
  return inner;
}
