import type { MqttCounters } from '../server/mqtt-counters.ts';
import { averagedMinutes, LoadAverages } from './load-averages.ts';

/** What the values are read from. */
export interface SystemSource {
  readonly nodeId: string;
  readonly version: string;
  readonly counters: MqttCounters;
  readonly subscriptions: () => number;
  /** Connected clients that have their session. */
  readonly clients: () => number;
  /** Names of the brokers that are up. */
  readonly brokers: () => readonly string[];
  /** Retained messages that the coordinators of this broker keep. */
  readonly retained: () => number;
  readonly wallMs: () => number;
  readonly monotonicMs: () => number;
  /** Events that were left out. */
  readonly eventsDropped: () => number;
}

export type SystemValue = readonly [topic: string, value: string];

type Reading = (source: SystemSource, own: SystemValues) => number | string;

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
const published = ({ counters }: SystemSource): number => sum(counters.publishesIn);
const delivered = ({ counters }: SystemSource): number => sum(counters.publishesOut);
const dropped = ({ counters }: SystemSource): number =>
  counters.droppedIn + counters.droppedOut + counters.droppedTooLarge + counters.droppedExpired;

/** By Mosquitto's names, below `$SYS/broker/`. */
const mosquittoValues: Readonly<Record<string, Reading>> = {
  version: ({ version }) => `RobustMQ ${version}`,
  uptime: (_, own) => `${Math.floor(own.uptimeMs / 1000)} seconds`,
  'clients/connected': ({ clients }) => clients(),
  'clients/active': ({ clients }) => clients(),
  'clients/maximum': (_, own) => own.clientsMaximum,
  'messages/received': ({ counters }) => counters.packetsIn,
  'messages/sent': ({ counters }) => counters.packetsOut,
  'publish/messages/received': published,
  'publish/messages/sent': delivered,
  'publish/messages/dropped': dropped,
  'bytes/received': ({ counters }) => counters.bytesIn,
  'bytes/sent': ({ counters }) => counters.bytesOut,
  'subscriptions/count': ({ subscriptions }) => subscriptions(),
  'retained messages/count': ({ retained }) => retained(),
};

/** By EMQX's names, below `$SYS/brokers/NODE/`. */
const emqxValues: Readonly<Record<string, Reading>> = {
  version: ({ version }) => version,
  sysdescr: () => 'RobustMQ',
  uptime: (_, own) => own.uptimeMs,
  datetime: ({ wallMs }) => new Date(wallMs()).toISOString(),
  'stats/connections/count': ({ counters }) => counters.connections,
  'stats/live_connections/count': ({ clients }) => clients(),
  'stats/live_connections/max': (_, own) => own.clientsMaximum,
  'stats/subscriptions/count': ({ subscriptions }) => subscriptions(),
  'stats/retained/count': ({ retained }) => retained(),
  'metrics/bytes/received': ({ counters }) => counters.bytesIn,
  'metrics/bytes/sent': ({ counters }) => counters.bytesOut,
  'metrics/packets/received': ({ counters }) => counters.packetsIn,
  'metrics/packets/sent': ({ counters }) => counters.packetsOut,
  'metrics/messages/received': published,
  'metrics/messages/sent': delivered,
  'metrics/messages/dropped': dropped,
  'metrics/messages/qos0/received': ({ counters }) => counters.publishesIn[0],
  'metrics/messages/qos1/received': ({ counters }) => counters.publishesIn[1],
  'metrics/messages/qos2/received': ({ counters }) => counters.publishesIn[2],
  'metrics/messages/qos0/sent': ({ counters }) => counters.publishesOut[0],
  'metrics/messages/qos1/sent': ({ counters }) => counters.publishesOut[1],
  'metrics/messages/qos2/sent': ({ counters }) => counters.publishesOut[2],
  'events/dropped': ({ eventsDropped }) => eventsDropped(),
};

/** Counters that have averages, by their names below `$SYS/broker/load/`. */
const loads: Readonly<Record<string, (source: SystemSource) => number>> = {
  'messages/received': ({ counters }) => counters.packetsIn,
  'messages/sent': ({ counters }) => counters.packetsOut,
  'publish/received': published,
  'publish/sent': delivered,
  'publish/dropped': dropped,
  'bytes/received': ({ counters }) => counters.bytesIn,
  'bytes/sent': ({ counters }) => counters.bytesOut,
  connections: ({ counters }) => counters.connects,
};

/** What `$SYS` shows of a broker. */
export class SystemValues {
  readonly #source: SystemSource;
  readonly #loads: readonly (readonly [string, (source: SystemSource) => number, LoadAverages])[];
  readonly #startedMs: number;
  #sampledMs: number;
  #clientsMaximum = 0;

  constructor(source: SystemSource) {
    this.#source = source;
    this.#startedMs = source.monotonicMs();
    this.#sampledMs = this.#startedMs;
    this.#loads = Object.entries(loads).map(([name, read]) => [name, read, new LoadAverages()]);
  }

  get uptimeMs(): number {
    return Math.floor(this.#source.monotonicMs() - this.#startedMs);
  }

  /** Of all samples, and now. */
  get clientsMaximum(): number {
    return (this.#clientsMaximum = Math.max(this.#clientsMaximum, this.#source.clients()));
  }

  /** Keeps the averages and the maximum; to be called each interval. */
  sample(): void {
    const nowMs = this.#source.monotonicMs();
    for (const [, read, averages] of this.#loads) {
      averages.sample(read(this.#source), nowMs - this.#sampledMs);
    }
    this.#sampledMs = nowMs;
    this.#clientsMaximum = this.clientsMaximum;
  }

  /** All of them, as they are now. */
  *read(): Generator<SystemValue> {
    const source = this.#source;
    for (const [name, reading] of Object.entries(mosquittoValues)) {
      yield [`$SYS/broker/${name}`, String(reading(source, this))];
    }
    for (const [name, , { averages }] of this.#loads) {
      for (const [index, minutes] of averagedMinutes.entries()) {
        yield [`$SYS/broker/load/${name}/${minutes}min`, (averages[index] ?? 0).toFixed(2)];
      }
    }
    yield ['$SYS/brokers', source.brokers().join(',')];
    for (const [name, reading] of Object.entries(emqxValues)) {
      yield [`$SYS/brokers/${source.nodeId}/${name}`, String(reading(source, this))];
    }
  }
}
