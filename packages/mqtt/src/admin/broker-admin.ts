import { OperatingError } from '@robustmq/core';
import { brokerAdminMethods, type ServiceRegistry } from '@robustmq/rpc';

import type { ConnectedClient } from '../connection/connected-client.ts';
import { listClients } from './client-list.ts';
import { clearRetained, listRetained, type RetainedStore } from './retained-list.ts';
import type { SlowClients } from '../slow/slow-clients.ts';
import type { Traces } from '../trace/traces.ts';
import { listSubscriptions } from './subscription-list.ts';
import { traceStream } from './trace-stream.ts';

const slowClientsListedMax = 1_000;

/** What operators may ask of an MQTT server, and have it do. */
export interface AdministeredServer {
  clients(after: number): Iterable<ConnectedClient>;
  kick(clientId: string): boolean;
  readonly traces: Traces;
  readonly slowClients: SlowClients;
  readonly retained: RetainedStore;
}

/** Serves operators. `server`: undefined while there is none. */
export function registerBrokerAdmin(
  registry: ServiceRegistry,
  server: () => AdministeredServer | undefined,
): void {
  const clientsAfter = (number: number): Iterable<ConnectedClient> =>
    server()?.clients(number) ?? [];
  registry.unary(brokerAdminMethods.listClients, (request) => listClients(clientsAfter, request));
  registry.unary(brokerAdminMethods.kickClient, ({ clientId }) => ({
    kicked: server()?.kick(clientId) ?? false,
  }));
  registry.unary(brokerAdminMethods.listSubscriptions, (request) =>
    listSubscriptions(clientsAfter, request),
  );
  registry.unary(brokerAdminMethods.listSlowClients, ({ limit }) => ({
    clients: server()?.slowClients.slowest(Math.min(limit, slowClientsListedMax)) ?? [],
  }));
  registry.stream(brokerAdminMethods.trace, (stream) => traceStream(stream, server()?.traces));
  const retained = (): RetainedStore => {
    const store = server()?.retained;
    if (store !== undefined) return store;
    throw new OperatingError('UNAVAILABLE', 'this broker speaks no MQTT: ask another one');
  };
  registry.unary(brokerAdminMethods.listRetained, (request) => listRetained(retained(), request));
  registry.unary(brokerAdminMethods.clearRetained, (request) => clearRetained(retained(), request));
}
