import type { Clock } from '@robustmq/core';
import type { JournalClient } from '@robustmq/journal-client';
import type { BrokenBatches } from '../log/broken-batches.ts';
import type { CatchUp } from './catch-up.ts';

/** What the tails of a fan-out share. */
export interface FanOutContext {
  readonly journal: Pick<JournalClient, 'tail' | 'endOffset'>;
  readonly clock: Clock;
  readonly catchUp: CatchUp;
  readonly broken: BrokenBatches;
  /** How long a tail is kept that nobody reads. */
  readonly lingerMs: number;
  /** Pause before the end of a partition is asked for again. */
  readonly retryMs: number;
}
