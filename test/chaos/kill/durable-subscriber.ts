import type { IPublishPacket, Packet } from 'mqtt-packet';

import { DurableClient, type DurableClientOptions } from './durable-client.ts';

export interface DurableSubscriberOptions extends DurableClientOptions {
  readonly filter: string;
}

/** Subscribes once, and keeps what a client has to keep for QoS 2 across its connections. */
export class DurableSubscriber extends DurableClient {
  readonly #filter: string;
  /** QoS 2 packet ids whose PUBREL has not come. */
  readonly #unreleased = new Set<number>();
  readonly #subscribed = Promise.withResolvers<void>();
  #isSubscribed = false;

  constructor(options: DurableSubscriberOptions) {
    super(options);
    this.#filter = options.filter;
  }

  /** Resolves with the SUBACK. */
  get subscribed(): Promise<void> {
    return this.#subscribed.promise;
  }

  protected override connected(): void {
    if (this.#isSubscribed) return;
    const subscriptions = [{ topic: this.#filter, qos: 2 as const }];
    this.send({ cmd: 'subscribe', messageId: 1, subscriptions });
  }

  protected override took(packet: Packet): void {
    switch (packet.cmd) {
      case 'suback':
        this.#isSubscribed = true;
        this.#subscribed.resolve();
        return;
      case 'publish':
        this.#publish(packet);
        return;
      case 'pubrel':
        this.#unreleased.delete(packet.messageId ?? 0);
        this.send({ cmd: 'pubcomp', messageId: packet.messageId ?? 0, reasonCode: 0 });
        return;
      default:
    }
  }

  #publish({ qos, messageId = 0, topic, payload }: IPublishPacket): void {
    const isNew = qos < 2 || !this.#unreleased.has(messageId);
    if (qos === 2) this.#unreleased.add(messageId);
    if (isNew) {
      const [publisher = '', sequence] = payload.toString().split(' ');
      const { record, clientId: subscriber } = this.options;
      record({ kind: 'received', subscriber, publisher, topic, sequence: Number(sequence) });
    }
    this.send({ cmd: qos === 2 ? 'pubrec' : 'puback', messageId, reasonCode: 0 });
  }
}
