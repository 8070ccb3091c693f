import type { Clock } from '@robustmq/core';
import type { Catalog } from '@robustmq/placement-client';
import { NodeRole, NodeState } from '@robustmq/rpc';

import type { LiveReaders } from '../delivery/live-readers.ts';
import { ClientEvents, type ClientEventKind } from '../system/client-events.ts';
import { DropReports } from '../system/drop-reports.ts';
import { SystemPublisher } from '../system/system-publisher.ts';
import { SystemTopics } from '../system/system-topics.ts';
import { SystemValues } from '../system/system-values.ts';
import type { MqttCounters } from './mqtt-counters.ts';

/** What operators see of an MQTT server beside its metrics. */
export interface MqttObservation {
  /** How often the values below `$SYS/` are published; 0: there are none. */
  readonly sysIntervalMs: number;
  /** Events of clients that are published. */
  readonly events: readonly ClientEventKind[];
  /** From when on a message that waits is late; 0: never. */
  readonly slowThresholdMs: number;
  /** Topic filters whose messages are counted one by one. */
  readonly topicMetrics: readonly string[];
}

export const mqttObservationDefault: MqttObservation = {
  sysIntervalMs: 10_000,
  events: ['connected', 'disconnected'],
  slowThresholdMs: 500,
  topicMetrics: [],
};

/** What observes an MQTT server. */
export class Observation implements Disposable {
  readonly events: ClientEvents;
  readonly drops: DropReports;
  readonly system: SystemTopics;

  constructor(options: {
    readonly nodeId: string;
    readonly version: string;
    readonly clock: Clock;
    readonly catalog: Catalog;
    readonly readers: LiveReaders;
    readonly counters: MqttCounters;
    readonly clients: () => number;
    readonly subscriptions: () => number;
    readonly retainedMessages?: () => number;
    readonly observation: Partial<MqttObservation>;
  }) {
    const { nodeId, version, clock, counters, clients, subscriptions } = options;
    const { sysIntervalMs, events } = { ...mqttObservationDefault, ...options.observation };
    const publisher = new SystemPublisher(options.readers);
    this.events = new ClientEvents(publisher, { nodeId, clock, kinds: events });
    this.drops = new DropReports(this.events, clock);
    const values = new SystemValues({
      nodeId,
      version,
      counters,
      clients,
      subscriptions,
      brokers: () => brokersOf(options.catalog),
      retained: options.retainedMessages ?? (() => 0),
      wallMs: () => clock.wallMs(),
      monotonicMs: () => clock.monotonicMs(),
      eventsDropped: () => this.events.left,
    });
    this.system = new SystemTopics({ publisher, values, clock, intervalMs: sysIntervalMs });
  }

  [Symbol.dispose](): void {
    this.system[Symbol.dispose]();
    this.drops[Symbol.dispose]();
  }
}

function brokersOf(catalog: Catalog): string[] {
  return [...catalog.nodes()]
    .filter(({ role, state }) => role === NodeRole.BROKER && state !== NodeState.DOWN)
    .map(({ nodeId }) => nodeId)
    .toSorted();
}
