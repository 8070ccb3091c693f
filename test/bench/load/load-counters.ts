import { LatencyHistogram } from './latency-histogram.ts';
import { type DeliveryTotals, type LoadPlan, range, subscribersOf } from './load-plan.ts';

/** What a run is at: warm-up, the measured time, or the end, when nothing more is sent. */
export const phases = { warmUp: 0, measured: 1, drain: 2 } as const;

/** Faults that a subscriber counts. */
const faults = ['duplicates', 'skipped', 'foreign'] as const;
export type DeliveryFault = (typeof faults)[number];

/**
 * The counts of a run in memory that all threads share. Each count has one thread that writes it,
 * once per chunk or turn, not per message.
 */
export class LoadCounters {
  readonly memory: SharedArrayBuffer;
  readonly #plan: LoadPlan;
  readonly #words: Int32Array;
  readonly #sentAt: number;
  readonly #acknowledgedAt: number;
  readonly #wakeAt: number;
  readonly #faultsAt: number;
  readonly #deliveredAt: number;
  readonly #histogramsAt: number;

  constructor(plan: LoadPlan, memory?: SharedArrayBuffer) {
    this.#plan = plan;
    this.#sentAt = 1;
    this.#acknowledgedAt = this.#sentAt + plan.publishers;
    this.#wakeAt = this.#acknowledgedAt + plan.publishers;
    this.#faultsAt = this.#wakeAt + plan.publishers;
    this.#deliveredAt = this.#faultsAt + plan.subscribers * faults.length;
    this.#histogramsAt = this.#deliveredAt + plan.subscribers * plan.publishers;
    const words = this.#histogramsAt + plan.threads * LatencyHistogram.length;
    this.memory = memory ?? new SharedArrayBuffer(words * 4);
    this.#words = new Int32Array(this.memory);
  }

  get phase(): number {
    return Atomics.load(this.#words, 0);
  }

  set phase(phase: number) {
    Atomics.store(this.#words, 0, phase);
  }

  sent(publisher: number): number {
    return Atomics.load(this.#words, this.#sentAt + publisher);
  }

  setSent(publisher: number, count: number): void {
    Atomics.store(this.#words, this.#sentAt + publisher, count);
  }

  acknowledged(publisher: number): number {
    return Atomics.load(this.#words, this.#acknowledgedAt + publisher);
  }

  setAcknowledged(publisher: number, count: number): void {
    Atomics.store(this.#words, this.#acknowledgedAt + publisher, count);
  }

  delivered(subscriber: number, publisher: number): number {
    return Atomics.load(this.#words, this.#deliveredIndex(subscriber, publisher));
  }

  setDelivered(subscriber: number, publisher: number, count: number): void {
    Atomics.store(this.#words, this.#deliveredIndex(subscriber, publisher), count);
  }

  countFault(subscriber: number, fault: DeliveryFault, count: number): void {
    Atomics.add(this.#words, this.#faultIndex(subscriber, fault), count);
  }

  /** Messages of a publisher that are delivered to all `subscribers`, and acknowledged where they should be. */
  done(publisher: number, subscribers: readonly number[]): number {
    let done = this.#plan.qos > 0 ? this.acknowledged(publisher) : this.sent(publisher);
    for (const subscriber of subscribers) {
      done = Math.min(done, this.delivered(subscriber, publisher));
    }
    return done;
  }

  /** A number that changes with {@link wake}. */
  wakeSignal(publisher: number): number {
    return Atomics.load(this.#words, this.#wakeAt + publisher);
  }

  /** Tells a publisher in another thread that its messages have gone on. */
  wake(publisher: number): void {
    Atomics.add(this.#words, this.#wakeAt + publisher, 1);
    Atomics.notify(this.#words, this.#wakeAt + publisher);
  }

  /** Waits until the wake signal is no longer `signal`; undefined when that is so already. */
  waitForWake(publisher: number, signal: number): Promise<unknown> | undefined {
    const wait = Atomics.waitAsync(this.#words, this.#wakeAt + publisher, signal);
    return wait.async ? wait.value : undefined;
  }

  histogram(thread: number): LatencyHistogram {
    const offset = (this.#histogramsAt + thread * LatencyHistogram.length) * 4;
    return new LatencyHistogram(new Uint32Array(this.memory, offset, LatencyHistogram.length));
  }

  totalSent(): number {
    return sum(range(this.#plan.publishers).map((publisher) => this.sent(publisher)));
  }

  totalDelivered(): number {
    const { subscribers, publishers } = this.#plan;
    const words = this.#words.subarray(this.#deliveredAt);
    return sum(range(subscribers * publishers).map((index) => Atomics.load(words, index)));
  }

  /** The check of the run so far. */
  totals(): DeliveryTotals {
    const { qos, publishers, subscribers } = this.#plan;
    const fault = (name: DeliveryFault): number =>
      sum(
        range(subscribers).map((subscriber) =>
          Atomics.load(this.#words, this.#faultIndex(subscriber, name)),
        ),
      );
    const skipped = fault('skipped');
    const acknowledged = sum(range(publishers).map((publisher) => this.acknowledged(publisher)));
    return {
      expected: sum(
        range(publishers).map(
          (publisher) => this.sent(publisher) * subscribersOf(this.#plan, publisher).length,
        ),
      ),
      // A counter stands at the next expected sequence, so what was skipped lies below it.
      delivered: this.totalDelivered() - skipped,
      duplicates: fault('duplicates'),
      skipped,
      foreign: fault('foreign'),
      unacknowledged: qos > 0 ? this.totalSent() - acknowledged : 0,
    };
  }

  #deliveredIndex(subscriber: number, publisher: number): number {
    return this.#deliveredAt + subscriber * this.#plan.publishers + publisher;
  }

  #faultIndex(subscriber: number, fault: DeliveryFault): number {
    return this.#faultsAt + subscriber * faults.length + faults.indexOf(fault);
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
