import { isUtf8 } from 'node:buffer';
import { partitionOf } from './murmur2.ts';

/** The topic that takes every MQTT name which no other topic owns. It has 16 partitions for life. */
export const sharedTopic = 'mqtt';
/** Its number of partitions while the catalog does not show it yet. */
const sharedPartitions = 16;
/** An MQTT topic name has at most so many bytes. [MQTT5-1.5.4] */
const nameBytesMax = 65_535;

/** What is needed of a topic; a `Topic` of the catalog fits. */
export interface NamedTopic {
  readonly name: string;
  /** One for each partition. */
  readonly shardIds: ArrayLike<unknown>;
  readonly config: Readonly<Record<string, string | undefined>>;
}

/** Where a message with an MQTT topic name goes. */
export interface Route {
  readonly topic: string;
  readonly partition: number;
  /** Record key; null is no key, which is not the empty key. */
  readonly key: string | null;
}

/** Partitions that can hold records whose MQTT names match a filter. */
export interface Source {
  readonly topic: string;
  readonly partitions: readonly number[] | 'all';
  /** The one key that matches, when the filter has no wildcard (null: no key); else undefined. */
  readonly key: string | null | undefined;
}

/**
 * Who wrote a record: `mqtt` when it came through MQTT (it has `mqtt.publisher` or another header
 * that only MQTT sets), else `other`.
 */
export type RecordOrigin = 'mqtt' | 'other';

/**
 * MQTT topic names ⇔ topics and record keys (docs/design.md, section 4), for one state of the
 * catalog. Pure and unchanging: build a new one when topics change.
 */
export class TopicNames {
  /** Topics by their MQTT base: the prefix, or the name with `/` for `.`. */
  readonly #byBase = new Map<string, NamedTopic[]>();
  readonly #baseByTopic = new Map<string, string>();
  /** The topic that owns a prefix. */
  readonly #owners = new Map<string, NamedTopic>();
  /** Length of the longest owned prefix: nothing longer is looked up. */
  #ownedLengthMax = 0;
  #sharedPartitions = sharedPartitions;

  private constructor() {}

  static of(topics: Iterable<NamedTopic>): TopicNames {
    const names = new TopicNames();
    for (const topic of topics) names.#add(topic);
    return names;
  }

  /** Where a publish to an MQTT topic name goes. The name is legal already. */
  route(mqttTopic: string): Route {
    let end = mqttTopic.length;
    while (end > this.#ownedLengthMax) end = mqttTopic.lastIndexOf('/', end - 1);
    for (; end > 0; end = mqttTopic.lastIndexOf('/', end - 1)) {
      const owner = this.#owners.get(mqttTopic.slice(0, end));
      if (owner === undefined) continue;
      const key = end === mqttTopic.length ? null : mqttTopic.slice(end + 1);
      return routeTo(owner.name, key, owner.shardIds.length);
    }
    return routeTo(sharedTopic, mqttTopic, this.#sharedPartitions);
  }

  /**
   * The MQTT name of a record, or null when it has none: its key is not legal in a topic name, or
   * begins with `$` and comes from another protocol, or its topic is internal. A topic that is not
   * in the table has the base that its name gives.
   */
  mqttNameOf(topic: string, key: Uint8Array | null, origin: RecordOrigin = 'other'): string | null {
    if (topic.startsWith('$')) return null;
    if (key === null) return topic === sharedTopic ? null : this.#baseOf(topic);
    const text = legalKey(key, origin);
    if (text === null) return null;
    if (topic === sharedTopic) return text === '' ? null : text;
    const name = `${this.#baseOf(topic)}/${text}`;
    return name.length > nameBytesMax / 4 && Buffer.byteLength(name) > nameBytesMax ? null : name;
  }

  /**
   * Every partition that can hold a record whose MQTT name matches the filter (a legal one, without
   * `$share/group/`), each topic once.
   */
  sources(filter: string): Source[] {
    const levels = filter.split('/');
    const exact = !levels.some((level) => level === '+' || level === '#');
    return exact ? this.#sourcesOfName(filter) : this.#sourcesOfWildcard(levels);
  }

  #add(topic: NamedTopic): void {
    if (topic.name.startsWith('$')) return;
    if (topic.name === sharedTopic) {
      this.#sharedPartitions = topic.shardIds.length || sharedPartitions;
      return;
    }
    const prefix = topic.config['mqtt.prefix'];
    const base = prefix === undefined || prefix === '' ? baseOfName(topic.name) : prefix;
    this.#baseByTopic.set(topic.name, base);
    const others = this.#byBase.get(base);
    if (others === undefined) this.#byBase.set(base, [topic]);
    else others.push(topic);
    if (prefix === undefined || prefix === '') return;
    this.#owners.set(prefix, topic);
    this.#ownedLengthMax = Math.max(this.#ownedLengthMax, prefix.length);
  }

  #baseOf(topic: string): string {
    return this.#baseByTopic.get(topic) ?? baseOfName(topic);
  }

  /**
   * A name can stand in each topic whose base is the name or a level-wise prefix of it. The shared
   * topic is always among them: the name may have had no owner when it was published.
   */
  #sourcesOfName(name: string): Source[] {
    const partition = partitionOf(name, this.#sharedPartitions);
    const sources: Source[] = [{ topic: sharedTopic, partitions: [partition], key: name }];
    for (let end = name.length; end > 0; end = name.lastIndexOf('/', end - 1)) {
      const key = end === name.length ? null : name.slice(end + 1);
      for (const topic of this.#byBase.get(name.slice(0, end)) ?? []) {
        sources.push({ topic: topic.name, partitions: 'all', key });
      }
    }
    return sources;
  }

  #sourcesOfWildcard(filter: readonly string[]): Source[] {
    const sources: Source[] = [{ topic: sharedTopic, partitions: 'all', key: undefined }];
    for (const [base, topics] of this.#byBase) {
      if (!reaches(filter, base)) continue;
      for (const topic of topics) {
        sources.push({ topic: topic.name, partitions: 'all', key: undefined });
      }
    }
    return sources;
  }
}

/** The MQTT base that a topic's name gives: `/` for `.`. */
export function baseOfName(topic: string): string {
  return topic.replaceAll('.', '/');
}

function routeTo(topic: string, key: string | null, partitions: number): Route {
  return { topic, partition: partitionOf(key, Math.max(1, partitions)), key };
}

/** The key as text, or null when it cannot be part of an MQTT topic name. [MQTT5-1.5.4-1, -2] [MQTT5-3.3.2-2] */
function legalKey(key: Uint8Array, origin: RecordOrigin): string | null {
  if (key.length > nameBytesMax || !isUtf8(key)) return null;
  if (key[0] === 0x24 && origin === 'other') return null;
  for (const byte of key) {
    if (byte === 0x00 || byte === 0x23 || byte === 0x2b) return null;
  }
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString();
}

/** Whether a filter with wildcards matches the base itself or any name below it. */
function reaches(filter: readonly string[], base: string): boolean {
  const levels = base.split('/');
  // A wildcard in the first level does not match names that begin with `$`. [MQTT5-4.7.2-1]
  if (base.startsWith('$') && (filter[0] === '+' || filter[0] === '#')) return false;
  for (const [i, level] of levels.entries()) {
    const wanted = filter[i];
    if (wanted === '#') return true;
    if (wanted !== '+' && wanted !== level) return false;
  }
  return true;
}
