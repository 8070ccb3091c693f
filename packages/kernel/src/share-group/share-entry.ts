export type ShareState = 'available' | 'acquired' | 'pinned' | 'settled';

/** A record of the window that was read and is not settled, or was just settled. */
export interface ShareEntry<Payload> {
  readonly offset: number;
  readonly payload: Payload;
  readonly state: ShareState;
  /** How often it was handed out. */
  readonly attempts: number;
  /** Who has it, or had it last; empty: nobody yet. */
  readonly holder: string;
}

/** An entry as the window changes it. */
export class Entry<Payload> implements ShareEntry<Payload> {
  readonly offset: number;
  readonly payload: Payload;
  state: ShareState = 'available';
  attempts: number;
  holder = '';
  /** While it is acquired. */
  deadlineMs = 0;
  /** Stands in one of the queues of available records, be it available or not. */
  isQueued = false;

  constructor(offset: number, payload: Payload, attempts: number) {
    this.offset = offset;
    this.payload = payload;
    this.attempts = attempts;
  }
}
