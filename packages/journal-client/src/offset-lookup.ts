import { offset, type Offset, OperatingError } from '@robustmq/core';
import { OffsetSpec, refusalOf, type Segment, type Shard } from '@robustmq/rpc';
import type { ClientContext } from './client-context.ts';
import { type JournalPlace, journalPlace } from './leader-route.ts';
import { isSealed } from './segment-finder.ts';

/** Looks up the first offset, and offsets by time, along a chain. */
export class OffsetLookup {
  readonly #context: ClientContext;

  constructor(context: ClientContext) {
    this.#context = context;
  }

  /** The first offset that can be read, as placement says now or, while it is away, as the catalog says. */
  async earliest(shardId: number): Promise<Offset> {
    const { catalog, placement } = this.#context;
    const [outcome] = await placement.resolveShards([shardId]);
    const shard = isShard(outcome) ? outcome : catalog.shard(shardId);
    if (shard !== undefined) return offset(shard.trimOffset);
    throw outcome ?? new OperatingError('NOT_FOUND', `there is no shard ${shardId}`);
  }

  /** The first offset whose record has at least this time stamp; undefined when there is none. */
  async byTime(shardId: number, timestampMs: number): Promise<Offset | undefined> {
    let from: number = await this.earliest(shardId);
    for (;;) {
      const segments = await this.#context.placement.listSegments(shardId, from);
      for (const segment of segments) {
        from = segment.endOffset;
        if (isSealed(segment) && segment.maxTimestampMs < timestampMs) continue;
        const found = await this.#inSegment(segment, timestampMs);
        if (found !== undefined) return found;
      }
      const last = segments.at(-1);
      if (last === undefined || !isSealed(last)) return undefined;
    }
  }

  async #inSegment(segment: Segment, timestampMs: number): Promise<Offset | undefined> {
    const { shardId, segmentId } = segment;
    const connection = this.#context.connections.get(this.#placeOf(segment));
    const { results } = await connection.listOffsets([
      { shardId, segmentId, spec: OffsetSpec.TIMESTAMP, timestampMs, expectedEpoch: 0 },
    ]);
    const [result] = results;
    const refusal = refusalOf(result?.status);
    if (refusal !== undefined) throw refusal;
    return result?.found === true ? offset(result.offset) : undefined;
  }

  #placeOf(segment: Segment): JournalPlace {
    const nodeIds = isSealed(segment) ? segment.fullNodeIds : [segment.leaderNodeId];
    for (const nodeId of nodeIds) {
      const place = journalPlace(this.#context.catalog, nodeId);
      if (place !== undefined) return place;
    }
    throw new OperatingError('UNAVAILABLE', `no journal is up that has shard ${segment.shardId}`);
  }
}

function isShard(outcome: Shard | OperatingError | undefined): outcome is Shard {
  return outcome !== undefined && !(outcome instanceof OperatingError);
}
