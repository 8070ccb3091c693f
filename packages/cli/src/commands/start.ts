import { join } from 'node:path';

import { startBroker } from '@robustmq/broker';
import { systemClock, systemRandom, hostOf, portOf } from '@robustmq/core';
import { startJournal } from '@robustmq/journal-server';
import { startPlacement } from '@robustmq/placement';
import { grpcTransport, inProcessTransport } from '@robustmq/rpc';

import { allowedListen } from '../exposure.ts';
import { createLogger } from '../logger.ts';
import { MqttListeners } from '../mqtt/mqtt-listeners.ts';
import type { Options } from '../options.ts';
import { required } from '../required.ts';
import { bothTransports } from '../both-transports.ts';
import { processMetrics } from '../service.ts';
import { serveUntilSignal } from '../serving.ts';
import { TlsRenewal } from '../tls-renewal.ts';
import { brokerOptions, journalOptions, mqttAddresses, readyLine, refuseUnbuilt } from './role.ts';

/**
 * Placement, journal and broker in one process. They call each other in process, and also listen on
 * gRPC, for the administration commands.
 */
export async function runStart(options: Options): Promise<void> {
  refuseUnbuilt(options);
  const listen = allowedListen(options);
  const dataDir = required(options, 'data-dir');
  const logger = createLogger(required(options, 'log-level'));
  const registry = processMetrics('start');
  const inProcess = inProcessTransport();
  const clock = systemClock();
  const tls = TlsRenewal.open(options, ['placement', 'journal'], { clock, logger, registry });
  const mqtt = MqttListeners.open(options, { clock, logger, registry });
  const both = bothTransports(inProcess, grpcTransport({ tls: tls?.tls, logger }));
  const shared = { clock, random: systemRandom(), registry };

  await serveUntilSignal({ options, logger, registry }, async (running) => {
    running.use(tls);
    running.use(mqtt);
    const placement = await startPlacement({
      ...shared,
      dataDir: join(dataDir, 'placement'),
      listen,
      transport: both,
      logger: logger.child({ role: 'placement' }),
    });
    running.use(placement);
    const journal = await startJournal({
      ...shared,
      ...journalOptions(options),
      dataDir: join(dataDir, 'journal'),
      listen: '127.0.0.1:0',
      transport: both,
      placement: [placement.address],
      logger: logger.child({ role: 'journal' }),
    });
    running.use(journal);
    const broker = await startBroker({
      ...shared,
      ...brokerOptions(options, mqtt),
      listen: '127.0.0.1:0',
      placement: [placement.address],
      transport: both,
      logger: logger.child({ role: 'broker' }),
    });
    running.use(broker);
    const announce = (http: string | undefined): void => {
      const addresses = mqttAddresses(broker);
      readyLine('start', { grpc: placement.address, ...addresses, http });
      const [first] = broker.addresses.mqtt.filter(({ kind }) => kind === 'mqtt');
      if (first !== undefined) process.stdout.write(pasteLines(first.address));
      process.stdout.write(`\nData is in ${dataDir}. Ctrl-C stops it in order.\n`);
    };
    return { servers: [placement, journal, broker], announce };
  });
}

/** Lines to paste into another terminal. */
function pasteLines(mqtt: string): string {
  const target = `-h ${hostOf(mqtt)} -p ${portOf(mqtt)}`;
  return [
    '',
    `MQTT listens on ${mqtt}. Try it:`,
    `  mosquitto_sub ${target} -t 'hello/#' -v`,
    `  mosquitto_pub ${target} -t hello/world -q 1 -m 'it works'`,
    '',
  ].join('\n');
}
