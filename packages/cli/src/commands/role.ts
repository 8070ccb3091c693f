import { type BrokerServer, type ShareStrategy, startBroker } from '@robustmq/broker';
import {
  type Clock,
  type Logger,
  OperatingError,
  type Random,
  systemClock,
  systemRandom,
} from '@robustmq/core';
import { startJournal } from '@robustmq/journal-server';
import type {
  AutoSubscription,
  MqttLimits,
  MqttListenerOptions,
  MqttObservation,
  RewriteRule,
} from '@robustmq/mqtt';
import { startPlacement } from '@robustmq/placement';
import { grpcTransport, type Transport } from '@robustmq/rpc';
import type { Registry } from 'prom-client';

import { etcdStoreOf } from '../etcd-options.ts';
import { createLogger } from '../logger.ts';
import { mqttLimits } from '../mqtt/mqtt-options.ts';
import { mqttObservation } from '../mqtt/observation-options.ts';
import { MqttListeners } from '../mqtt/mqtt-listeners.ts';
import { type Options } from '../options.ts';
import { reachableListen } from '../exposure.ts';
import { required } from '../required.ts';
import { processMetrics } from '../service.ts';
import { serveUntilSignal } from '../serving.ts';
import { TlsRenewal } from '../tls-renewal.ts';
import { programVersion } from '../version.ts';

const hourMs = 3_600_000;

/** Runs a broker until SIGTERM or SIGINT. */
export async function runBroker(options: Options): Promise<void> {
  refuseUnbuilt(options);
  const listen = reachableListen(options);
  const { tls, ...shared } = sharedOptions(options, 'broker');
  const mqtt = MqttListeners.open(options, shared);
  await serveUntilSignal({ ...shared, options }, async (running) => {
    running.use(tls);
    running.use(mqtt);
    const placement = required(options, 'placement');
    const own = brokerOptions(options, mqtt);
    const broker = await startBroker({ ...shared, ...own, listen, placement });
    running.use(broker);
    const { grpc } = broker.addresses;
    const announce = (http: string | undefined): void =>
      readyLine('broker', { grpc, ...mqttAddresses(broker), http });
    return { servers: [broker], announce };
  });
}

/** Runs a journal until SIGTERM or SIGINT. */
export async function runJournal(options: Options): Promise<void> {
  const listen = reachableListen(options);
  const { tls, ...shared } = sharedOptions(options, 'journal');
  await serveUntilSignal({ ...shared, options }, async (running) => {
    running.use(tls);
    const dataDir = required(options, 'data-dir');
    const placement = required(options, 'placement');
    const own = journalOptions(options);
    const journal = await startJournal({ ...shared, ...own, dataDir, listen, placement });
    running.use(journal);
    const announce = (http: string | undefined): void =>
      readyLine('journal', { grpc: journal.address, http });
    return { servers: [journal], announce };
  });
}

/** Runs placement until SIGTERM or SIGINT. */
export async function runPlacement(options: Options): Promise<void> {
  const listen = reachableListen(options);
  const { tls, ...shared } = sharedOptions(options, 'placement');
  await serveUntilSignal({ ...shared, options }, async (running) => {
    running.use(tls);
    const dataDir = required(options, 'data-dir');
    const store = etcdStoreOf(options, shared);
    running.use(store);
    const advertiseHost = options['advertise-host'];
    const placement = await startPlacement({
      ...shared,
      dataDir,
      listen,
      advertiseHost,
      config: { downGraceMs: required(options, 'down-grace-ms') },
      ...(store && { store }),
    });
    running.use(placement);
    const announce = (http: string | undefined): void =>
      readyLine('placement', { grpc: placement.address, http });
    return { servers: [placement], announce };
  });
}

/** What a role with a process of its own is given. */
function sharedOptions(
  options: Options,
  role: 'broker' | 'journal' | 'placement',
): {
  tls: TlsRenewal | undefined;
  transport: Transport;
  clock: Clock;
  random: Random;
  logger: Logger;
  registry: Registry;
} {
  const clock = systemClock();
  const logger = createLogger(required(options, 'log-level'), role);
  const registry = processMetrics(role);
  const tls = TlsRenewal.open(options, [role], { clock, logger, registry });
  const transport = grpcTransport({ tls: tls?.tls, logger });
  return { tls, transport, clock, random: systemRandom(), logger, registry };
}

export function brokerOptions(
  options: Options,
  { listeners }: MqttListeners,
): {
  nodeId?: string;
  zone?: string;
  advertiseHost?: string;
  mqttListeners: readonly MqttListenerOptions[];
  mqttLimits: Partial<MqttLimits>;
  mqtt3RefusedPublish: 'acknowledge' | 'close';
  accessFile?: string;
  mqttSharedStrategy: ShareStrategy;
  mqttObservation: Partial<MqttObservation>;
  mqttRewriteRules: readonly RewriteRule[];
  mqttAutoSubscriptions: readonly AutoSubscription[];
  version: string;
} {
  const accessFile = options['access-file'];
  return {
    ...nodeOptions(options),
    mqttListeners: listeners,
    mqttLimits: mqttLimits(options),
    mqtt3RefusedPublish: required(options, 'mqtt3-refused-publish'),
    ...(accessFile !== undefined && { accessFile }),
    mqttSharedStrategy: required(options, 'mqtt-shared-strategy'),
    mqttObservation: mqttObservation(options),
    mqttRewriteRules: options['mqtt-rewrite-rules'] ?? [],
    mqttAutoSubscriptions: options['mqtt-auto-subscriptions'] ?? [],
    version: programVersion(),
  };
}

export function journalOptions(options: Options): {
  nodeId?: string;
  zone?: string;
  advertiseHost?: string;
  walFileBytes: number;
  diskReserveBytes?: number;
  unflushedBytesMax: number;
  scrubPeriodMs: number;
  scrubBytesPerSecondMax: number;
} {
  const reserve = options['disk-reserve-bytes'];
  return {
    ...nodeOptions(options),
    walFileBytes: required(options, 'wal-file-bytes'),
    ...(reserve === undefined ? {} : { diskReserveBytes: reserve }),
    unflushedBytesMax: required(options, 'unflushed-bytes-max'),
    scrubPeriodMs: required(options, 'scrub-period-hours') * hourMs,
    scrubBytesPerSecondMax: required(options, 'scrub-bytes-per-second'),
  };
}

function nodeOptions(options: Options): { nodeId?: string; zone?: string; advertiseHost?: string } {
  const host = options['advertise-host'];
  return {
    ...(options['node-id'] === undefined ? {} : { nodeId: options['node-id'] }),
    ...(options.zone === undefined ? {} : { zone: options.zone }),
    ...(host === undefined ? {} : { advertiseHost: host }),
  };
}

/** Kafka and AMQP have their flags already, so that scripts need not change; only "off" works. */
export function refuseUnbuilt(options: Options): void {
  for (const name of ['kafka-listen', 'amqp-listen'] as const) {
    if (options[name] !== undefined && options[name] !== 'off') {
      throw new OperatingError(
        'UNSUPPORTED',
        `--${name} ${options[name]}: this version speaks MQTT only; leave the flag out or give "off"`,
      );
    }
  }
}

/** By kind of listener: several of one are one list. */
export function mqttAddresses({ addresses }: BrokerServer): Record<string, string> {
  const byKind = Map.groupBy(addresses.mqtt, ({ kind }) => kind);
  const texts = [...byKind].map(
    ([kind, all]) => [kind, all.map(({ address }) => address).join(',')] as const,
  );
  return Object.fromEntries(texts);
}

/** The line that scripts wait for. */
export function readyLine(
  role: string,
  addresses: Readonly<Record<string, string | undefined>>,
): void {
  const parts = Object.entries(addresses).flatMap(([name, address]) =>
    address === undefined ? [] : [`${name}=${address}`],
  );
  process.stdout.write(`ready ${role} ${parts.join(' ')}\n`);
}
