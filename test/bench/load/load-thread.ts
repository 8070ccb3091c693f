/** One thread of the load generator: some publishers and some subscribers, all on its own sockets. */
import { parentPort, workerData } from 'node:worker_threads';

import { LoadCounters, phases } from './load-counters.ts';
import { type LoadPlan, range, subscribersOf, threadOf } from './load-plan.ts';
import { Publisher } from './publisher.ts';
import { Subscriber } from './subscriber.ts';

/** What the process hands to a thread. */
export interface ThreadTask {
  readonly plan: LoadPlan;
  readonly thread: number;
  readonly memory: SharedArrayBuffer;
}

/** What the process tells a thread: to send, or to close everything. */
export type ThreadOrder = 'send' | 'close';

const readBufferBytes = 256 * 1024;

class LoadThread {
  readonly #plan: LoadPlan;
  readonly #counters: LoadCounters;
  readonly #publishers: readonly Publisher[];
  readonly #subscribers: readonly Subscriber[];
  /** Publishers of other threads that wait for this thread's subscribers. */
  readonly #remote: readonly number[];
  #turnEndAwaited = false;
  #sending = false;

  constructor(task: ThreadTask) {
    const { plan, thread } = task;
    this.#plan = plan;
    this.#counters = new LoadCounters(plan, task.memory);
    const shared = {
      plan,
      counters: this.#counters,
      target: {
        host: plan.host,
        port: plan.port,
        packetBytesMax: plan.payloadBytes + 1024,
        readBuffer: Buffer.alloc(readBufferBytes),
      },
      progressed: () => this.#awaitTurnEnd(),
    };
    const own = (index: number): boolean => threadOf(plan, index) === thread;
    const histogram = this.#counters.histogram(thread);
    this.#publishers = range(plan.publishers)
      .filter(own)
      .map((index) => new Publisher({ ...shared, index }));
    this.#subscribers = range(plan.subscribers)
      .filter(own)
      .map((index) => new Subscriber({ ...shared, histogram, index }));
    this.#remote = [
      ...new Set(this.#subscribers.flatMap((subscriber) => subscriber.publishers)),
    ].filter((publisher) => !own(publisher));
  }

  async ready(): Promise<void> {
    await Promise.all([...this.#publishers, ...this.#subscribers].map((one) => one.ready()));
  }

  send(): void {
    this.#sending = true;
    for (const publisher of this.#publishers) {
      publisher.pump();
      const elsewhere = subscribersOf(this.#plan, publisher.index).some(
        (subscriber) => threadOf(this.#plan, subscriber) !== threadOf(this.#plan, publisher.index),
      );
      if (elsewhere) void this.#follow(publisher);
    }
  }

  close(): void {
    for (const one of [...this.#publishers, ...this.#subscribers]) one.close();
  }

  #awaitTurnEnd(): void {
    if (this.#turnEndAwaited || !this.#sending) return;
    this.#turnEndAwaited = true;
    setImmediate(this.#endTurn);
  }

  readonly #endTurn = (): void => {
    this.#turnEndAwaited = false;
    for (const publisher of this.#publishers) publisher.pump();
    for (const publisher of this.#remote) this.#counters.wake(publisher);
  };

  /** Pumps a publisher whenever subscribers of other threads have gone on. */
  async #follow(publisher: Publisher): Promise<void> {
    while (this.#counters.phase !== phases.drain) {
      const signal = this.#counters.wakeSignal(publisher.index);
      publisher.pump();
      await (this.#counters.waitForWake(publisher.index, signal) ?? nextTurn());
    }
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

const thread = new LoadThread(workerData as ThreadTask);
parentPort?.on('message', (order: ThreadOrder) => {
  if (order === 'send') thread.send();
  else {
    thread.close();
    parentPort?.close();
  }
});
await thread.ready();
parentPort?.postMessage('ready');
