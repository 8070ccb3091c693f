import type { Clock, ErrorCode, Random } from '@robustmq/core';
import type { Catalog, PlacementClient } from '@robustmq/placement-client';
import type { ScratchPool } from '@robustmq/record-batch';
import type { ClientLimits } from './client-limits.ts';
import type { ClientTurn } from './client-turn.ts';
import type { ClientUsage } from './client-usage.ts';
import type { JournalConnections } from './journal-connections.ts';
import type { ProducerIds } from './producer-ids.ts';
import type { ProgressCheck } from './progress-check.ts';
import type { ShardWatch } from './shard-watch.ts';

/** What a journal client asks placement. */
export type JournalPlacement = Pick<
  PlacementClient,
  'openSegments' | 'resolveShards' | 'listSegments' | 'reportUnreachable' | 'allocateProducerIds'
>;

/** What the parts of one journal client share. */
export interface ClientContext {
  readonly catalog: Catalog;
  readonly placement: JournalPlacement;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: ClientLimits;
  readonly turn: ClientTurn;
  readonly connections: JournalConnections;
  readonly watch: ShardWatch;
  readonly producerIds: ProducerIds;
  readonly scratch: ScratchPool;
  readonly usage: ClientUsage;
  /** Writers with batches that are not answered. */
  readonly busyWriters: ProgressCheck;
  /** Aborts when the client is closed. */
  readonly closed: AbortSignal;
  /** The producer id that this process uses wherever it has used up none. */
  processProducerId(): Promise<number>;
  countRetry(code: ErrorCode): void;
  countAppended(records: number): void;
}
