import type { Violations } from '../../history/violations.ts';
import { HistoryChecker, type HistoryEvent } from '../history/history-checker.ts';
import type { DurableClientOptions } from '../kill/durable-client.ts';
import { DurablePublisher } from '../kill/durable-publisher.ts';
import { DurableSubscriber } from '../kill/durable-subscriber.ts';
import type { SeededRandom } from '../kill/seeded-random.ts';
import type { Address } from '../../integration/packet-client.ts';

const subscribers = ['subscriber-1', 'subscriber-2'];
/** Leaves the processors to the others: outages are measured. */
const publishEachMs = 20;

export interface MqttLoadOptions {
  readonly brokers: readonly Address[];
  readonly random: SeededRandom;
  readonly violations: Violations;
  readonly onProgress: () => void;
}

/** Publishers and persistent subscribers at QoS 1 and 2 that go to any broker. */
export class MqttLoad implements AsyncDisposable {
  readonly #checker: HistoryChecker;
  readonly #publishers: readonly DurablePublisher[];
  readonly #subscribers: readonly DurableSubscriber[];
  readonly #random: SeededRandom;

  constructor({ brokers, random, violations, onProgress }: MqttLoadOptions) {
    this.#random = random;
    this.#checker = new HistoryChecker(subscribers, violations);
    const record = (event: HistoryEvent): void => {
      this.#checker.take(event);
      onProgress();
    };
    const client = (clientId: string): DurableClientOptions => {
      return { clientId, brokers: () => brokers, random: random.fork(), record };
    };
    this.#publishers = [1, 2].map((qos) => {
      const topics = ['chaos-mqtt/shared', `chaos-mqtt/own/${qos}`];
      const pace = { window: 4, everyMs: publishEachMs };
      return new DurablePublisher({
        ...client(`publisher-${qos}`),
        qos: qos === 1 ? 1 : 2,
        topics,
        ...pace,
      });
    });
    this.#subscribers = subscribers.map(
      (clientId) => new DurableSubscriber({ ...client(clientId), filter: 'chaos-mqtt/#' }),
    );
  }

  get acknowledged(): number {
    return this.#checker.acknowledged;
  }

  /** Resolves when they are subscribed and publishing. */
  async start(): Promise<void> {
    for (const subscriber of this.#subscribers) subscriber.start();
    await Promise.all(this.#subscribers.map((each) => each.subscribed));
    for (const publisher of this.#publishers) publisher.start();
  }

  /** One of the subscribers leaves and goes to any broker. */
  moveSubscriber(): void {
    this.#random.pick(this.#subscribers).leave();
  }

  /** Publishes nothing new; resolves when all is acknowledged. */
  async finish(): Promise<void> {
    await Promise.all(this.#publishers.map((each) => each.finish()));
  }

  /** Whether every acknowledged message has come to every subscriber. */
  get isComplete(): boolean {
    return this.#checker.missing === 0;
  }

  /** The violations say what did not arrive. */
  conclude(): void {
    this.#checker.verdict();
  }

  describe(): string[] {
    const outstanding = this.#publishers.map((each) => each.outstanding).join(', ');
    const { acknowledged, missing } = this.#checker;
    return [`MQTT: ${acknowledged} acknowledged, ${outstanding} outstanding, ${missing} missing`];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#publishers, ...this.#subscribers].map((client) => client.stop()));
  }
}
