import { OperatingError } from '@robustmq/core';
import {
  type ListOffsetsRequest,
  type ListOffsetsResponse,
  type OffsetQuery,
  type OffsetResult,
  OffsetSpec,
  segmentIdOfBytes,
  toStatus,
} from '@robustmq/rpc';
import type { JournalStorage } from '../storage/storage.ts';
import type { FrameReader } from './frame-reader.ts';
import { operatingErrorOf } from './operating-error.ts';
import type { Replica } from './replica.ts';

export interface OffsetPort {
  readonly storage: JournalStorage;
  readonly reader: FrameReader;
  readonly limits: { readonly controlItemsMax: number };
  /**
   * The replica of a segment; without an id the one that is led here, with this epoch or a higher one.
   * Throws NOT_LEADER or SEGMENT_UNKNOWN.
   */
  segmentOf(shardId: number, segmentId: string | undefined, expectedEpoch: number): Replica;
}

type Found = Pick<OffsetResult, 'offset' | 'timestampMs' | 'found'>;

/** Answers ListOffsets: one answer for each query, in order. */
export async function listOffsets(
  port: OffsetPort,
  request: ListOffsetsRequest,
): Promise<ListOffsetsResponse> {
  const { queries } = request;
  if (queries.length > port.limits.controlItemsMax) {
    const message = `${queries.length} queries are above ${port.limits.controlItemsMax}: ask in parts`;
    throw new OperatingError('INVALID_ARGUMENT', message);
  }
  return { results: await Promise.all(queries.map((query) => answer(port, query))) };
}

async function answer(port: OffsetPort, query: OffsetQuery): Promise<OffsetResult> {
  const { shardId, segmentId, expectedEpoch } = query;
  const none = { shardId, offset: 0, timestampMs: 0, lastStableOffset: 0, found: false };
  try {
    const id = segmentId.length === 0 ? undefined : segmentIdOfBytes(segmentId);
    const replica = port.segmentOf(shardId, id, expectedEpoch);
    const found = await find(port, replica, query);
    const lastStableOffset = port.reader.limit(replica, true);
    return { ...none, ...found, lastStableOffset, status: undefined };
  } catch (thrown) {
    return { ...none, status: toStatus(operatingErrorOf(thrown)) };
  }
}

function find(port: OffsetPort, replica: Replica, query: OffsetQuery): Found | Promise<Found> {
  switch (query.spec) {
    case OffsetSpec.EARLIEST:
      return { offset: replica.baseOffset, timestampMs: 0, found: true };
    case OffsetSpec.LATEST:
      return { offset: replica.highWatermark, timestampMs: 0, found: true };
    case OffsetSpec.TIMESTAMP:
      return findTime(port, replica, query.timestampMs);
    case OffsetSpec.MAX_TIMESTAMP:
      return findTime(port, replica, replica.stored.maxTimestampMs);
    default:
      throw new OperatingError(
        'INVALID_ARGUMENT',
        `offset kind ${String(query.spec)} is not known`,
      );
  }
}

/** The batch that holds the record: the journal decodes none, so the reader looks inside. */
async function findTime(port: OffsetPort, replica: Replica, timestampMs: number): Promise<Found> {
  const index = await port.storage.indexByTime(replica.stored, timestampMs);
  const end = replica.highWatermark;
  const offset = index === undefined ? end : replica.baseOffset + index;
  return { offset: Math.min(offset, end), timestampMs, found: offset < end };
}
