import { type Logger, OperatingError, type SegmentId } from '@robustmq/core';
import { type Status, toStatus } from '@robustmq/rpc';
import type { JournalStorage } from '../storage/storage.ts';
import type { DeletedSegments } from './deleted-segments.ts';
import type { JournalLimits } from './journal-limits.ts';
import type { OrderNumber } from './order-number.ts';
import type { ProducerTakeover } from './producer-takeover.ts';
import type { Replica } from './replica.ts';
import type { ReplicaDriver } from './replica-driver.ts';

/** What the orders of placement need of the node. */
export interface ControlPort {
  readonly storage: JournalStorage;
  readonly limits: JournalLimits;
  readonly driver: ReplicaDriver;
  readonly takeover: ProducerTakeover;
  readonly logger: Logger;
  readonly orderNumber: OrderNumber;
  readonly deleted: DeletedSegments;
  /** The node shuts down: it takes nothing new. */
  readonly isDraining: boolean;
  replica(segmentId: SegmentId): Replica | undefined;
  /** Highest epoch of a segment of the shard that was led, followed or sealed here; 0 when none was. */
  newestEpoch(shardId: number): number;
  /** New replicas are in the storage. */
  adopt(segmentIds: readonly SegmentId[]): void;
  /** The replica leads its shard from now on. */
  led(replica: Replica): void;
  /** The replica is about to be deleted. */
  remove(replica: Replica): void;
}

/** An item that was carried out. */
export const okStatus: Status = {
  code: 0,
  message: '',
  hintNodeId: '',
  hintEpoch: 0,
  retryAfterMs: 0,
  earliestOffset: 0,
};

export function segmentUnknown(segmentId: SegmentId): Status {
  const message = `this journal has no replica of segment ${segmentId}`;
  return toStatus(new OperatingError('SEGMENT_UNKNOWN', message));
}

/** Throws INVALID_ARGUMENT for a call with too many items. */
export function checkItems(port: ControlPort, count: number): void {
  const { controlItemsMax } = port.limits;
  if (count <= controlItemsMax) return;
  const message = `${count} items are above ${controlItemsMax}: send them in parts`;
  throw new OperatingError('INVALID_ARGUMENT', message);
}
