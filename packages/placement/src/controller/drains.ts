import { type Clock, type Logger, OperatingError } from '@robustmq/core';
import {
  type NodeDrain,
  NodeRole,
  NodeState,
  Segment,
  SegmentState,
  type StoredDrain,
  StoredNode,
} from '@robustmq/rpc';
import { unsealedSegment } from '../core/chain.ts';
import { readTopicConfig } from '../core/topic-config.ts';
import type { MetadataStore } from '../store/metadata-store.ts';
import { nextTurn } from '../store/next-turn.ts';
import type { Row } from './image.ts';
import { nodeKey, removedNodeKey } from './keys.ts';
import { type Ledger, put } from './ledger.ts';
import type { NodeRegistry } from './node-registry.ts';
import type { Sealer } from './sealer.ts';

export interface DrainsOptions {
  readonly store: MetadataStore;
  readonly ledger: Ledger;
  readonly nodes: NodeRegistry;
  readonly sealer: Pick<Sealer, 'seal'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Segments of one journal that end in one pass, so that clients are never sent elsewhere all at once. */
const segmentsPerPass = 200;
/** How often the sealed segments of a journal are counted, in ms: all chains are read for it. */
const countEachMs = 5_000;
const segmentsPerPage = 1_000;

interface Count {
  readonly uncopied: number;
  readonly atMs: number;
}

/**
 * Journals that operators take out of use. Nothing is opened on them (`NodeRegistry.journalCandidates`)
 * nor copied to them ({@link Image.isWantedOn}), what is open there ends, and once all that they have is
 * elsewhere, too, they are DRAINED and may be removed. The order outlives restarts of both sides.
 */
export class Drains {
  readonly #options: DrainsOptions;
  readonly #counts = new Map<string, Count>();

  constructor(options: DrainsOptions) {
    this.#options = options;
  }

  /**
   * Orders a drain. Throws NOT_FOUND, and INVALID_ARGUMENT for a broker, and when there is no other
   * journal that could take over.
   */
  async order(nodeId: string): Promise<void> {
    const { nodes, clock, logger } = this.#options;
    this.#journal(nodeId);
    if (!nodes.journalCandidates().some((other) => other.nodeId !== nodeId)) {
      const message = `no other journal is up to take over from ${nodeId}: start one first`;
      throw new OperatingError('INVALID_ARGUMENT', message);
    }
    const drain: StoredDrain = { orderedAtMs: clock.wallMs(), done: false };
    const isOrdered = await this.#change(nodeId, (before) => before.drain === undefined, drain);
    if (isOrdered) logger.info({ nodeId }, 'a journal is being drained');
  }

  /** Takes the order back. Throws NOT_FOUND, and INVALID_ARGUMENT for a broker. */
  async cancel(nodeId: string): Promise<void> {
    this.#journal(nodeId);
    this.#counts.delete(nodeId);
    const isCancelled = await this.#change(nodeId, ({ drain }) => drain !== undefined, undefined);
    if (isCancelled) this.#options.logger.info({ nodeId }, 'a journal is not drained any more');
  }

  /**
   * Forgets a journal. Throws NOT_FOUND, INVALID_ARGUMENT while it is up and not draining, and CONFLICT
   * while it has something of which fewer full copies than the ack quorum, or than there are
   * journals, are on others that are up.
   */
  async remove(nodeId: string): Promise<void> {
    const { ledger, nodes, logger } = this.#options;
    if (this.#journal(nodeId).value.node?.state === NodeState.UP) {
      const message = `journal ${nodeId} is up: drain it first`;
      throw new OperatingError('INVALID_ARGUMENT', message);
    }
    const forget = nodes.beginRemoval(nodeId);
    try {
      // What was decided before is in the image then, and from here on nothing is opened on it.
      await ledger.settled();
      await this.#removeRow(nodeId);
    } finally {
      forget();
    }
    this.#counts.delete(nodeId);
    nodes.forget(nodeId);
    logger.warn({ nodeId }, 'a journal was removed: its id is never used again');
  }

  async #removeRow(nodeId: string): Promise<void> {
    const { ledger } = this.#options;
    const open = ledger.image.replicatedBy(nodeId).size;
    if (open > 0) throw stillNeeded(nodeId, `replicas of ${open} segments that are not sealed`);
    // With fewer, one disk could take what several had: those that are there are not asked what they have now.
    const others = this.#wantedJournals(nodeId);
    const bare = await this.#countUncopied(nodeId, ({ ackQuorum }) =>
      Math.max(1, Math.min(ackQuorum, others)),
    );
    if (bare > 0) throw stillNeeded(nodeId, `${bare} segments with too few full copies elsewhere`);
    await ledger.change(() => {
      const row = this.#journal(nodeId);
      return {
        conditions: [{ key: nodeKey(nodeId), revision: row.revision }],
        operations: [
          { kind: 'delete', key: nodeKey(nodeId) },
          put(removedNodeKey(nodeId), StoredNode.encode(row.value)),
        ],
      };
    });
  }

  /** Ends some of what is open on draining journals, and notes which have nothing left. */
  async pass(): Promise<void> {
    for (const [nodeId, { value }] of this.#options.ledger.image.nodes) {
      if (value.drain !== undefined) await this.#drain(nodeId, value.drain);
    }
  }

  /** How far each drain is. */
  status(): NodeDrain[] {
    const { image } = this.#options.ledger;
    return [...image.nodes].flatMap(([nodeId, { value }]) => {
      if (value.drain === undefined) return [];
      const { orderedAtMs, done } = value.drain;
      const count = this.#counts.get(nodeId);
      const openSegments = image.replicatedBy(nodeId).size;
      const uncopiedSegments = count?.uncopied ?? 0;
      const counted = count !== undefined;
      return [{ nodeId, orderedAtMs, openSegments, uncopiedSegments, counted, done }];
    });
  }

  async #drain(nodeId: string, drain: StoredDrain): Promise<void> {
    const { ledger, sealer, logger, clock } = this.#options;
    const open = [...ledger.image.replicatedBy(nodeId)];
    const due = open.filter((shardId) => this.#canMove(shardId)).slice(0, segmentsPerPass);
    if (due.length > 0) {
      logger.info({ nodeId, segments: due.length, open: open.length }, 'segments leave a journal');
      await sealer.seal(due);
    }
    if (open.length > 0) {
      this.#counts.delete(nodeId);
      return;
    }
    const nowMs = clock.monotonicMs();
    if (nowMs - (this.#counts.get(nodeId)?.atMs ?? Number.NEGATIVE_INFINITY) < countEachMs) return;
    const others = this.#wantedJournals(nodeId);
    const uncopied = await this.#countUncopied(nodeId, ({ replicaNodeIds }) =>
      Math.max(1, Math.min(replicaNodeIds.length, others)),
    );
    this.#counts.set(nodeId, { uncopied, atMs: nowMs });
    const done = uncopied === 0;
    if (done === drain.done) return;
    await this.#change(nodeId, (before) => before.drain !== undefined, { ...drain, done });
    logger.info({ nodeId, uncopied }, done ? 'a journal is drained' : 'a journal is needed again');
  }

  /** Whether the successor of an open segment could be opened now. */
  #canMove(shardId: number): boolean {
    const { ledger, nodes } = this.#options;
    const shard = ledger.image.shards.get(shardId)?.value.shard;
    if (shard === undefined || unsealedSegment(shard)?.state !== SegmentState.OPEN) return false;
    const { minInsyncReplicas } = readTopicConfig(ledger.image.topicOf(shardId)?.config ?? {});
    return nodes.journalCandidates().length >= minInsyncReplicas;
  }

  #wantedJournals(except: string): number {
    const { image } = this.#options.ledger;
    return [...image.nodes.values()].filter(({ value: { node } }) => {
      if (node?.role !== NodeRole.JOURNAL || node.nodeId === except) return false;
      return this.#isHaven(node.nodeId);
    }).length;
  }

  /** Whether a copy there counts: the journal is up and stays. */
  #isHaven(nodeId: string): boolean {
    const { image } = this.#options.ledger;
    return image.liveNode(nodeId) !== undefined && image.isWantedOn(nodeId);
  }

  /** Sealed segments of a journal with fewer full copies on other journals than `needed` says. */
  async #countUncopied(nodeId: string, needed: (segment: Segment) => number): Promise<number> {
    const { store } = this.#options;
    let uncopied = 0;
    let after: string | undefined;
    do {
      const page = { limit: segmentsPerPage, ...(after !== undefined && { after }) };
      const { entries } = await store.range('seg/', page);
      for (const { value } of entries) {
        const segment = Segment.decode(value);
        if (!segment.fullNodeIds.includes(nodeId)) continue;
        const elsewhere = segment.fullNodeIds.filter((id) => id !== nodeId && this.#isHaven(id));
        if (elsewhere.length < needed(segment)) uncopied++;
      }
      after = entries.length === segmentsPerPage ? entries.at(-1)?.key : undefined;
      await nextTurn();
    } while (after !== undefined);
    return uncopied;
  }

  /** Sets the order of a journal, and the state that follows from it, if `isDue`. */
  #change(
    nodeId: string,
    isDue: (before: StoredNode) => boolean,
    drain: StoredDrain | undefined,
  ): Promise<boolean> {
    const { ledger } = this.#options;
    return ledger.change(() => {
      const row = this.#journal(nodeId);
      const { node } = row.value;
      if (node === undefined || !isDue(row.value)) return undefined;
      const state = node.state === NodeState.DOWN ? node.state : stateOf(drain);
      const stored: StoredNode = { ...row.value, node: { ...node, state }, drain };
      return {
        conditions: [{ key: nodeKey(nodeId), revision: row.revision }],
        operations: [put(nodeKey(nodeId), StoredNode.encode(stored))],
      };
    });
  }

  #journal(nodeId: string): Row<StoredNode> {
    const row = this.#options.ledger.image.nodes.get(nodeId);
    if (row === undefined) throw new OperatingError('NOT_FOUND', `there is no node ${nodeId}`);
    if (row.value.node?.role === NodeRole.JOURNAL) return row;
    const message = `node ${nodeId} is a broker and holds nothing: just stop it`;
    throw new OperatingError('INVALID_ARGUMENT', message);
  }
}

function stateOf(drain: StoredDrain | undefined): NodeState {
  if (drain === undefined) return NodeState.UP;
  return drain.done ? NodeState.DRAINED : NodeState.DRAINING;
}

function stillNeeded(nodeId: string, what: string): OperatingError {
  const message = `journal ${nodeId} is still needed, it has ${what}: drain it, and wait until it is drained`;
  return new OperatingError('CONFLICT', message);
}
