import { OperatingError } from '@robustmq/core';
import { type Segment, SegmentState } from '@robustmq/rpc';
import type { Catalog } from '@robustmq/placement-client';
import type { JournalPlacement } from './client-context.ts';

/** Where an offset of a shard is. */
export type SegmentPlace =
  | { readonly kind: 'segment'; readonly segment: Segment }
  /** It is the end, and no segment is open: it will be in the next one. */
  | { readonly kind: 'end' }
  /** Nobody here knows: placement has to be asked. */
  | { readonly kind: 'unknown' };

/**
 * Finds segments by offset: the last ones of each chain in the catalog, older ones by asking placement,
 * with the answers of a bounded number of shards remembered.
 */
export class SegmentFinder {
  readonly #catalog: Catalog;
  readonly #placement: Pick<JournalPlacement, 'listSegments'>;
  readonly #shardsMax: number;
  /** Sealed segments in order, the least recently used shard first. */
  readonly #older = new Map<number, Segment[]>();

  constructor(
    catalog: Catalog,
    placement: Pick<JournalPlacement, 'listSegments'>,
    shardsMax: number,
  ) {
    this.#catalog = catalog;
    this.#placement = placement;
    this.#shardsMax = shardsMax;
  }

  /** What the catalog alone knows. Throws OFFSET_OUT_OF_RANGE below the trim offset. */
  findKnown(shardId: number, offset: number): SegmentPlace {
    const shard = this.#catalog.shard(shardId);
    if (shard === undefined) return { kind: 'unknown' };
    if (offset < shard.trimOffset) throw trimmed(shardId, offset, shard.trimOffset);
    const segment = shard.segments.find((segment) => holds(segment, offset));
    if (segment !== undefined) return { kind: 'segment', segment };
    const last = shard.segments.at(-1);
    const isEnd = offset === shard.endOffset && (last === undefined || isSealed(last));
    return { kind: isEnd ? 'end' : 'unknown' };
  }

  /** As {@link findKnown}, and older segments by asking placement. */
  async find(shardId: number, offset: number): Promise<SegmentPlace> {
    const known = this.findKnown(shardId, offset);
    if (known.kind !== 'unknown') return known;
    const remembered = this.#older.get(shardId)?.find((segment) => holds(segment, offset));
    if (remembered !== undefined) return { kind: 'segment', segment: remembered };
    const listed = await this.#placement.listSegments(shardId, offset);
    this.#remember(shardId, listed.filter(isSealed));
    const segment = listed.find((segment) => holds(segment, offset));
    if (segment !== undefined) return { kind: 'segment', segment };
    const [first] = listed;
    if (first !== undefined && first.baseOffset > offset) {
      throw trimmed(shardId, offset, first.baseOffset);
    }
    return { kind: 'unknown' };
  }

  /** A segment was not as it was remembered. */
  forget(shardId: number): void {
    this.#older.delete(shardId);
  }

  #remember(shardId: number, segments: Segment[]): void {
    this.#older.delete(shardId);
    this.#older.set(shardId, segments);
    if (this.#older.size <= this.#shardsMax) return;
    for (const leastUsed of this.#older.keys()) {
      this.#older.delete(leastUsed);
      return;
    }
  }
}

export function isSealed(segment: Segment): boolean {
  return segment.state === SegmentState.SEALED || segment.state === SegmentState.DELETING;
}

/** Whether a segment has this offset, or will have once it is appended. */
function holds(segment: Segment, offset: number): boolean {
  return offset >= segment.baseOffset && (!isSealed(segment) || offset < segment.endOffset);
}

function trimmed(shardId: number, offset: number, earliestOffset: number): OperatingError {
  return new OperatingError(
    'OFFSET_OUT_OF_RANGE',
    `offset ${offset} of shard ${shardId} is gone; the earliest is ${earliestOffset}`,
    { earliestOffset },
  );
}
