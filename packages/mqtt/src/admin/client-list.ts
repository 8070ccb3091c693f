import { OperatingError } from '@robustmq/core';
import type {
  ClientFilter,
  ListClientsRequest,
  ListClientsResponse,
  ConnectedClient as ToldClient,
} from '@robustmq/rpc';

import type { ConnectedClient } from '../connection/connected-client.ts';
import { IpNetworks, isIpNetwork } from '../listener/ip-address.ts';
import { PageRoom } from './page-room.ts';
import { matcher } from './text-pattern.ts';

/** Clients that one call looks at: the event loop is not held up for a filter that matches few. */
const lookedAtMax = 20_000;

/** Clients in the order of their numbers, behind the one given. */
export type ClientsAfter = (number: number) => Iterable<ConnectedClient>;

/** A page of the clients that the request asks for. Throws INVALID_ARGUMENT. */
export function listClients(
  clientsAfter: ClientsAfter,
  request: ListClientsRequest,
): ListClientsResponse {
  const room = new PageRoom(request.limit);
  const isWanted = clientMatcher(request.filter);
  const clients: ToldClient[] = [];
  let lookedAt = 0;
  for (const client of clientsAfter(request.after)) {
    if (isWanted(client)) {
      clients.push(toldClient(client));
      room.take(client.clientId, client.user);
    }
    if (room.full || ++lookedAt === lookedAtMax) return { clients, next: client.number };
  }
  return { clients, next: 0 };
}

export function clientMatcher(
  filter: ClientFilter | undefined,
): (client: ConnectedClient) => boolean {
  const { clientId = '', clientIdPattern = '', user = '', address = '' } = filter ?? {};
  const isId = matcher(clientIdPattern);
  const networks = address === '' ? undefined : networksOf(address);
  return (client) =>
    (clientId === '' || client.clientId === clientId) &&
    isId(client.clientId) &&
    (user === '' || client.user === user) &&
    (networks === undefined || networks.has(client.peer.address));
}

function networksOf(address: string): IpNetworks {
  if (isIpNetwork(address)) return new IpNetworks([address]);
  throw new OperatingError(
    'INVALID_ARGUMENT',
    `${address} is neither an IP address nor a network, for example 10.0.0.0/8`,
  );
}

function toldClient(client: ConnectedClient): ToldClient {
  const { peer, session } = client;
  const { trimmedRecords: trimmed } = session;
  return {
    clientId: client.clientId,
    user: client.user,
    address: peer.address,
    port: peer.port,
    listener: peer.listener,
    protocolVersion: client.version,
    keepAliveSeconds: client.keepAliveSeconds,
    sessionExpirySeconds: client.sessionExpirySeconds,
    connectedSinceMs: client.connectedSinceMs,
    subscriptions: session.subscriptions.size,
    inFlight: session.outbound.inFlight,
    lagRecords: session.lagRecords,
    receivedBytes: client.receivedBytes,
    sentBytes: client.sentBytes,
    certificateCommonName: peer.certificate?.commonName ?? '',
    trimmedRecords: trimmed?.records ?? 0,
    trimmedTopic: trimmed?.topic ?? '',
    trimmedAtMs: trimmed?.atMs ?? 0,
  };
}
