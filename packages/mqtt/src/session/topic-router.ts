import { TopicNames } from '@robustmq/kernel';
import type { Catalog } from '@robustmq/placement-client';
import type { MessageTarget } from './session-input.ts';

/** What is needed of the catalog. */
export type TopicCatalog = Pick<Catalog, 'topic' | 'topics' | 'onChange'>;

/** MQTT names ⇔ topics as the catalog shows them now. */
export class TopicRouter {
  readonly #catalog: TopicCatalog;
  /** Undefined when a topic has changed since it was made. */
  #names: TopicNames | undefined;

  constructor(catalog: TopicCatalog) {
    this.#catalog = catalog;
    catalog.onChange(({ kind }) => {
      if (kind === 'topic') this.#names = undefined;
    });
  }

  get names(): TopicNames {
    this.#names ??= TopicNames.of(this.#catalog.topics());
    return this.#names;
  }

  /** Where a message goes; undefined while the catalog does not show the topic that should take it. */
  route(mqttTopic: string): MessageTarget | undefined {
    const { topic, partition, key } = this.names.route(mqttTopic);
    const shardId = this.#catalog.topic(topic)?.shardIds[partition];
    if (shardId === undefined) return undefined;
    return { shardId, key: key === null ? undefined : Buffer.from(key) };
  }
}
