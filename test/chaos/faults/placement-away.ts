import type { Fault, FaultSource, Scene } from './fault.ts';

const placement = 'placement';
const minuteMs = 60_000;

/** One fault alone: placement is killed and stays away for minutes. No append may fail meanwhile. */
export class PlacementAway implements FaultSource {
  readonly #minutes: number;
  #isDone = false;

  constructor(minutes: number) {
    this.#minutes = minutes;
  }

  next({ chaos }: Scene): Fault[] | undefined {
    if (this.#isDone) return undefined;
    this.#isDone = true;
    return [
      {
        kind: 'placement away',
        what: `SIGKILL placement for ${this.#minutes} minutes`,
        counts: { sigkill: 1, placementAwayMinutes: this.#minutes },
        victims: [placement],
        holdMs: this.#minutes * minuteMs,
        begin: () => chaos.kill([placement]),
        end: () => chaos.restart([placement]),
      },
    ];
  }
}
