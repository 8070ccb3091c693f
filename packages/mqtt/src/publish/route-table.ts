import { type LogWriter, type TopicNames } from '@robustmq/kernel';
import type { RecordAppender } from '@robustmq/journal-client';
import { tokensOfName } from '@robustmq/record-batch';

import type { TopicMeter, TopicMeters } from '../slow/topic-meters.ts';

/** Where the publishes of one MQTT topic go. */
export interface PublishRoute {
  readonly appender: RecordAppender;
  readonly key: Buffer | null;
  readonly filterTokens: Uint32Array;
  /** Who counts it. */
  readonly meters: readonly TopicMeter[] | undefined;
}

/** Longer names are routed each time: what is remembered stays bounded in bytes. */
const rememberedNameLengthMax = 512;

/** Routes by MQTT topic name, remembered until the catalog's topics change. */
export class RouteTable {
  readonly #writer: LogWriter;
  readonly #size: number;
  readonly #meters: Pick<TopicMeters, 'of'>;
  #names: TopicNames;
  #routes = new Map<string, PublishRoute>();
  #version = 0;

  constructor(
    writer: LogWriter,
    names: TopicNames,
    { size, meters }: { size: number; meters: Pick<TopicMeters, 'of'> },
  ) {
    this.#meters = meters;
    this.#writer = writer;
    this.#names = names;
    this.#size = size;
  }

  /** Grows when routes that were given out are not to be used any more. */
  get version(): number {
    return this.#version;
  }

  get names(): TopicNames {
    return this.#names;
  }

  /** Takes the names of a new catalog. */
  rename(names: TopicNames): void {
    this.#names = names;
    this.#routes = new Map();
    this.#version++;
  }

  /** Undefined while the catalog does not show the topic that should take the message. */
  route(mqttTopic: string): PublishRoute | undefined {
    const known = this.#routes.get(mqttTopic);
    if (known !== undefined) return known;
    const { topic, partition, key } = this.#names.route(mqttTopic);
    const appender = this.#writer.appender(topic, partition);
    if (appender === undefined) return undefined;
    const route: PublishRoute = {
      appender,
      key: key === null ? null : Buffer.from(key),
      filterTokens: tokensOfName(Buffer.from(mqttTopic)),
      meters: this.#meters.of(mqttTopic),
    };
    if (mqttTopic.length > rememberedNameLengthMax) return route;
    if (this.#routes.size >= this.#size) this.#routes = new Map();
    this.#routes.set(mqttTopic, route);
    return route;
  }
}
