/** The pass that runs, or else the last one since the start. */
export interface ScrubProgress {
  /** Counted since the start; 0 before the first. */
  readonly pass: number;
  readonly isRunning: boolean;
  readonly replicas: number;
  readonly replicasRead: number;
  readonly bytes: number;
  readonly bytesRead: number;
  /** Replicas that it found damaged. */
  readonly damaged: number;
  /** Replicas that it could not read for another reason; the log says which. */
  readonly unread: number;
  /** When the last complete pass ended, ms since 1970; 0 when none is known. */
  readonly completedMs: number;
  /** Bytes read by all passes since the start. */
  readonly bytesTotal: number;
}
