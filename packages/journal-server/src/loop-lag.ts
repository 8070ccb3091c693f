import { monitorEventLoopDelay } from 'node:perf_hooks';

const resolutionMs = 20;
const nanosecondsPerMs = 1_000_000;

/** Tells how late the event loop was since the last look, in ms. */
export interface LagMeter extends Disposable {
  takeMs(): number;
}

/** How late the event loop's timers were since the last look (99th percentile), in ms. */
export class LoopLag implements LagMeter {
  readonly #histogram = monitorEventLoopDelay({ resolution: resolutionMs });

  constructor() {
    this.#histogram.enable();
  }

  takeMs(): number {
    const delayMs = this.#histogram.percentile(99) / nanosecondsPerMs;
    this.#histogram.reset();
    // What it measures contains its own interval.
    return Number.isFinite(delayMs) ? Math.max(0, Math.round(delayMs - resolutionMs)) : 0;
  }

  [Symbol.dispose](): void {
    this.#histogram.disable();
  }
}
