import { startBroker } from '@robustmq/broker';
import { OperatingError, systemClock, systemRandom } from '@robustmq/core';
import { startJournal } from '@robustmq/journal-server';
import { type PlacementServer, startPlacement } from '@robustmq/placement';
import { grpcTransport } from '@robustmq/rpc';
import type { Registry } from 'prom-client';

import { type Health, type HttpServer, startHttpServer } from '../http-server.ts';
import { createLogger } from '../logger.ts';
import { type Options } from '../options.ts';
import { requireLoopback } from '../exposure.ts';
import { required } from '../required.ts';
import { processMetrics, untilSignal } from '../service.ts';

/** Runs a broker until SIGTERM or SIGINT. */
export async function runBroker(options: Options): Promise<void> {
  refuseUnbuilt(options);
  const listen = requireLoopback(options);
  const logger = createLogger(required(options, 'log-level'), 'broker');
  const registry = processMetrics('broker');
  await using broker = await startBroker({
    ...brokerOptions(options),
    listen,
    placement: required(options, 'placement'),
    transport: grpcTransport(),
    clock: systemClock(),
    random: systemRandom(),
    logger,
    registry,
  });
  await using http = await serveHttp(options, registry, healthOf(broker));
  const stopped = untilSignal(logger);
  readyLine('broker', {
    grpc: broker.addresses.grpc,
    mqtt: broker.addresses.mqtt,
    http: http?.address,
  });
  await stopped;
}

/** Runs a journal until SIGTERM or SIGINT. */
export async function runJournal(options: Options): Promise<void> {
  const listen = requireLoopback(options);
  const logger = createLogger(required(options, 'log-level'), 'journal');
  const registry = processMetrics('journal');
  await using journal = await startJournal({
    ...journalOptions(options),
    dataDir: required(options, 'data-dir'),
    listen,
    placement: required(options, 'placement'),
    transport: grpcTransport(),
    clock: systemClock(),
    random: systemRandom(),
    logger,
    registry,
  });
  await using http = await serveHttp(options, registry, healthOf(journal));
  const stopped = untilSignal(logger);
  readyLine('journal', { grpc: journal.address, http: http?.address });
  await stopped;
}

/** Runs placement until SIGTERM or SIGINT. */
export async function runPlacement(options: Options): Promise<void> {
  const listen = requireLoopback(options);
  const logger = createLogger(required(options, 'log-level'), 'placement');
  const registry = processMetrics('placement');
  await using placement = await startPlacement({
    dataDir: required(options, 'data-dir'),
    listen,
    transport: grpcTransport(),
    clock: systemClock(),
    random: systemRandom(),
    logger,
    registry,
  });
  await using http = await serveHttp(options, registry, healthOf(asServer(placement)));
  const stopped = untilSignal(logger);
  readyLine('placement', { grpc: placement.address, http: http?.address });
  await stopped;
}

export function brokerOptions(options: Options): {
  nodeId?: string;
  zone?: string;
  advertiseHost?: string;
  mqttListen: string;
  mqttConnectionsMax: number;
  mqttPacketBytesMax: number;
} {
  return {
    ...nodeOptions(options),
    mqttListen: required(options, 'mqtt-listen'),
    mqttConnectionsMax: required(options, 'mqtt-connections-max'),
    mqttPacketBytesMax: required(options, 'mqtt-packet-bytes-max'),
  };
}

export function journalOptions(options: Options): {
  nodeId?: string;
  zone?: string;
  advertiseHost?: string;
  walFileBytes: number;
  diskReserveBytes?: number;
  unflushedBytesMax: number;
} {
  const reserve = options['disk-reserve-bytes'];
  return {
    ...nodeOptions(options),
    walFileBytes: required(options, 'wal-file-bytes'),
    ...(reserve === undefined ? {} : { diskReserveBytes: reserve }),
    unflushedBytesMax: required(options, 'unflushed-bytes-max'),
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

export async function serveHttp(
  options: Options,
  registry: Registry,
  health: Health,
): Promise<HttpServer | undefined> {
  const listen = options['http-listen'];
  if (listen === undefined || listen === 'off') return undefined;
  return startHttpServer(listen, registry, health);
}

interface Server {
  /** Undefined: can serve; else why not. */
  notReady(): string | undefined;
}

/** Placement either serves or is not there. */
export function asServer(placement: PlacementServer): Server {
  return { notReady: () => (placement.ready ? undefined : 'placement is starting or stopping') };
}

export function healthOf(...servers: readonly Server[]): Health {
  return {
    live: () => undefined,
    ready: () => servers.map((server) => server.notReady()).find((reason) => reason !== undefined),
  };
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
