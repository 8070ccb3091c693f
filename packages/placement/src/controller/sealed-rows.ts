import { Segment } from '@robustmq/rpc';
import type { Condition, MetadataStore, Operation } from '../store/metadata-store.ts';
import { nextTurn } from '../store/next-turn.ts';
import { shardOf } from './image.ts';
import { allSegmentsPrefix, segmentKey, shardKey } from './keys.ts';
import { type Ledger, put, putShard } from './ledger.ts';

const rowsPerPage = 1_000;

/** The rows of sealed segments: read in pages, and changed beside the copies that views show. */
export class SealedRows {
  readonly #store: MetadataStore;
  readonly #ledger: Ledger;

  constructor(store: MetadataStore, ledger: Ledger) {
    this.#store = store;
    this.#ledger = ledger;
  }

  /** Segments behind a key; the key to go on with is undefined at the end. */
  async page(
    after: string | undefined,
  ): Promise<{ segments: Segment[]; next: string | undefined }> {
    const { entries } = await this.#store.range(allSegmentsPrefix, {
      limit: rowsPerPage,
      ...(after !== undefined && { after }),
    });
    const next = entries.length === rowsPerPage ? entries.at(-1)?.key : undefined;
    return { segments: entries.map(({ value }) => Segment.decode(value)), next };
  }

  /** Calls `visit` with every sealed segment; other work gets its turns. */
  async forEach(visit: (segment: Segment) => void): Promise<void> {
    let after: string | undefined;
    do {
      const { segments, next } = await this.page(after);
      segments.forEach(visit);
      after = next;
      await nextTurn();
    } while (after !== undefined);
  }

  /** The segment as it is now; undefined when it has left its chain. */
  async read({ shardId, endOffset, segmentId }: Segment): Promise<Segment | undefined> {
    const row = await this.#store.get(segmentKey(shardId, endOffset, segmentId));
    return row && Segment.decode(row.value);
  }

  /**
   * Changes replicas of a segment by compare-and-swap, in its row and in the view of its shard. `decide`
   * gets it as it is now and returns undefined to leave it alone. False when it was left, or somebody else
   * was faster.
   */
  async change(
    { shardId, endOffset, segmentId }: Segment,
    decide: (now: Segment) => Segment | undefined,
  ): Promise<boolean> {
    const key = segmentKey(shardId, endOffset, segmentId);
    const row = await this.#store.get(key);
    const shardRow = this.#ledger.image.shards.get(shardId);
    const after = row && decide(Segment.decode(row.value));
    if (row === undefined || shardRow === undefined || after === undefined) return false;
    const conditions: Condition[] = [{ key, revision: row.revision }];
    const operations: Operation[] = [put(key, Segment.encode(after))];
    const shard = shardOf(shardRow.value);
    const segments = shard.segments.map((one) => (one.segmentId.equals(segmentId) ? after : one));
    if (segments.includes(after)) {
      conditions.push({ key: shardKey(shardId), revision: shardRow.revision });
      operations.push(putShard({ ...shardRow.value, shard: { ...shard, segments } }));
    }
    const result = await this.#ledger.transact(conditions, operations);
    return result.kind === 'committed';
  }
}
