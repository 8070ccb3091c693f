import { type ShardId, shardId } from '@robustmq/core';
import {
  Delivery,
  murmur2,
  shareGroupId,
  type ShareProtocol,
  type ShareSource,
  type ShareStrategy,
  type ShareTraits,
} from '@robustmq/kernel';
import type { RecordCursor } from '@robustmq/record-batch';

import { hasWildcard, parseSharedFilter, topicMatches } from '../codec/topic.ts';
import { RecordMessage } from '../message/record-message.ts';
import { type TopicCatalog, TopicRouter } from '../session/topic-router.ts';

/** What the ids of MQTT's share groups begin with. */
export const mqttShares = 'mqtt';
export const acquisitionMsDefault = 30_000;

export interface MqttShareOptions {
  readonly catalog: TopicCatalog;
  /** Default `round-robin`. */
  readonly strategy?: ShareStrategy;
  /** Time in which a client has to acknowledge, while there are others. Default 30 s. */
  readonly acquisitionMs?: number;
}

/** The id of the group of `$share/NAME/FILTER`; undefined: it is no shared subscription. */
export function groupIdOf(filter: string): string | undefined {
  const shared = parseSharedFilter(filter);
  return shared && shareGroupId(mqttShares, `${shared.group}/${shared.filter}`);
}

/** MQTT's shared subscriptions as share groups: one for each name and filter. [MQTT5-4.8.2] */
export function createMqttShares(options: MqttShareOptions): ShareProtocol {
  const { strategy = 'round-robin', acquisitionMs = acquisitionMsDefault, catalog } = options;
  const router = new TopicRouter(catalog);
  return {
    strategy,
    acquisitionMs,
    // The name of a group has no slash. [MQTT5-4.8.2-2]
    open: (name) => {
      const filter = name.slice(name.indexOf('/') + 1);
      return new MqttShareSource(filter, { router, catalog, strategy });
    },
  };
}

/** Where in a partition the records of a filter stand. */
interface Place {
  readonly topic: string;
  /** The only key, when the filter has no wildcard; null is no key. */
  readonly key: Buffer | null | undefined;
  /** Keys that were looked at, when it has. */
  readonly matches: Map<string, boolean>;
}

/** Keys that are remembered for a partition, and the longest of them. */
const matchesMax = 10_000;
const rememberedKeyBytesMax = 512;

/** The records whose MQTT names match a filter. */
class MqttShareSource implements ShareSource {
  readonly #filter: string;
  readonly #options: { router: TopicRouter; catalog: TopicCatalog; strategy: ShareStrategy };
  readonly #message = new RecordMessage();
  #places = new Map<ShardId, Place>();
  #names: object | undefined;

  constructor(
    filter: string,
    options: { router: TopicRouter; catalog: TopicCatalog; strategy: ShareStrategy },
  ) {
    this.#filter = filter;
    this.#options = options;
  }

  partitions(): ShardId[] {
    return [...this.#placesNow().keys()];
  }

  wants(id: ShardId, cursor: RecordCursor): boolean {
    const place = this.#placesNow().get(id);
    if (place === undefined) return false;
    const { buffer, keyStart, keyEnd } = cursor;
    if (place.key !== undefined) {
      if (place.key === null || keyStart < 0) return place.key === null && keyStart < 0;
      return place.key.compare(buffer, keyStart, keyEnd) === 0;
    }
    if (keyStart < 0) return this.#matches(place.topic, null);
    const bytes = buffer.subarray(keyStart, keyEnd);
    if (bytes.length > rememberedKeyBytesMax) return this.#matches(place.topic, bytes);
    const key = buffer.toString('latin1', keyStart, keyEnd);
    let found = place.matches.get(key);
    if (found === undefined) {
      found = this.#matches(place.topic, bytes);
      if (place.matches.size >= matchesMax) place.matches.clear();
      place.matches.set(key, found);
    }
    return found;
  }

  describe(cursor: RecordCursor, appendTimeMs: number, traits: ShareTraits): boolean {
    const message = this.#message;
    message.read(cursor);
    const { buffer, keyStart, keyEnd } = cursor;
    const isDollar = keyStart >= 0 && buffer[keyStart] === 0x24;
    // What begins with `$` is delivered only if it came through MQTT.
    if (isDollar && message.publisherStart < 0) return false;
    // A record that does not say is delivered at the subscription's QoS.
    traits.delivery = message.qos === -1 ? Delivery.exactlyOnce : message.qos;
    if (message.expiryMs >= 0) traits.expiresAtMs = appendTimeMs + message.expiryMs;
    const { strategy } = this.#options;
    if (strategy === 'hash-topic' && keyStart >= 0) {
      traits.hash = murmur2(buffer.subarray(keyStart, keyEnd)) >>> 0;
    } else if (strategy === 'hash-client' && message.publisherStart >= 0) {
      traits.hash = buffer.readUInt32BE(message.publisherStart);
    }
    return true;
  }

  #matches(topic: string, key: Buffer | null): boolean {
    const name = this.#options.router.names.mqttNameOf(topic, key, 'mqtt');
    return name !== null && topicMatches(this.#filter, name);
  }

  /** The partitions as the catalog shows them; looked up anew when topics have changed. */
  #placesNow(): Map<ShardId, Place> {
    const { router, catalog } = this.#options;
    const { names } = router;
    if (this.#names === names) return this.#places;
    this.#names = names;
    this.#places = new Map();
    for (const { topic, partitions, key } of names.sources(this.#filter)) {
      const shardIds = catalog.topic(topic)?.shardIds ?? [];
      for (const [index, id] of shardIds.entries()) {
        if (partitions !== 'all' && !partitions.includes(index)) continue;
        this.#places.set(shardId(id), {
          topic,
          key: hasWildcard(this.#filter) ? undefined : keyBytes(key),
          matches: new Map(),
        });
      }
    }
    return this.#places;
  }
}

function keyBytes(key: string | null | undefined): Buffer | null | undefined {
  return typeof key === 'string' ? Buffer.from(key) : key;
}
