import { OperatingError } from '@robustmq/core';
import { brokerAdminMethods, type ConnectedClient } from '@robustmq/rpc';

import { table } from '../administration.ts';
import { askBrokers } from '../broker-answers.ts';
import { bytesText } from '../bytes-text.ts';
import {
  clientFilter,
  connectedClients,
  connectedSubscriptions,
  rowLimit,
  tellIfCut,
} from '../connected-clients.ts';
import type { Options } from '../options.ts';
import { shownText } from '../shown-text.ts';
import { subscriptionTable } from './subscription.ts';

interface Input {
  readonly arguments: readonly string[];
  readonly flags: Readonly<Record<string, unknown>>;
}

type Listed = ConnectedClient & { readonly broker: string };

const timeoutMs = 5_000;
const forEver = 0xffffffff;
const versionWords: Readonly<Record<number, string>> = { 3: '3.1', 4: '3.1.1', 5: '5' };
const head =
  'CLIENT|USER|ADDRESS|BROKER|LISTENER|MQTT|SUBSCRIPTIONS|IN FLIGHT|LAG|RECEIVED|SENT'.split('|');

/** `robustmq client list`: clients that are connected, at whatever broker. */
export async function listClients(options: Options, { flags }: Input): Promise<void> {
  const listed = await connectedClients(options, clientFilter(flags), rowLimit(flags));
  const text = flags['json']
    ? `${JSON.stringify(listed.rows.map(clientJson), null, 2)}\n`
    : table([head, ...listed.rows.map(clientRow)]);
  process.stdout.write(text);
  tellIfCut(listed);
}

/** `robustmq client show`: one client, with its subscriptions. */
export async function showClient(options: Options, input: Input): Promise<void> {
  const clientId = input.arguments[0] ?? '';
  const filter = { clientId, clientIdPattern: '', user: '', address: '' };
  const limit = rowLimit(input.flags);
  const { rows: clients } = await connectedClients(options, filter, limit);
  if (clients.length === 0) throw notConnected(clientId);
  const listed = await connectedSubscriptions(options, { filter, topicFilter: '' }, limit);
  const { rows: subscriptions } = listed;
  if (input.flags['json']) {
    const body = clients.map((client) => ({ ...clientJson(client), subscriptions }));
    process.stdout.write(`${JSON.stringify(body.length === 1 ? body[0] : body, null, 2)}\n`);
    return;
  }
  const texts = clients.map((client) => table(clientLines(client)));
  if (subscriptions.length > 0) texts.push(subscriptionTable(subscriptions));
  process.stdout.write(texts.join('\n'));
  tellIfCut(listed);
}

/** `robustmq client kick`: ends connections; the sessions stay. */
export async function kickClients(options: Options, input: Input): Promise<void> {
  const clientIds = input.arguments;
  const answers = await askBrokers(options, (client) =>
    Promise.all(
      clientIds.map((clientId) =>
        client.call(brokerAdminMethods.kickClient, { clientId }, { timeoutMs }),
      ),
    ),
  );
  const missing = clientIds.filter((clientId, at) => {
    const kickedBy = answers.filter(({ answer }) => answer[at]?.kicked === true);
    for (const { nodeId } of kickedBy) {
      process.stdout.write(`kicked ${shownText(clientId)} from ${nodeId}\n`);
    }
    return kickedBy.length === 0;
  });
  if (missing[0] !== undefined) throw notConnected(missing.join(', '));
}

function notConnected(clientId: string): OperatingError {
  return new OperatingError(
    'NOT_FOUND',
    `${shownText(clientId)} is not connected; "robustmq client list" shows who is`,
  );
}

function clientRow(client: Listed): (string | number)[] {
  return [
    shownText(client.clientId),
    shownText(client.user) || '-',
    addressText(client),
    client.broker,
    client.listener,
    versionWords[client.protocolVersion] ?? client.protocolVersion,
    client.subscriptions,
    client.inFlight,
    client.lagRecords,
    bytesText(client.receivedBytes),
    bytesText(client.sentBytes),
  ];
}

function clientLines(client: Listed): [string, string | number][] {
  const { keepAliveSeconds, sessionExpirySeconds } = client;
  return [
    ['client', shownText(client.clientId)],
    ['user', shownText(client.user) || '-'],
    ['certificate', shownText(client.certificateCommonName) || '-'],
    ['address', addressText(client)],
    ['broker', client.broker],
    ['listener', client.listener],
    ['MQTT', versionWords[client.protocolVersion] ?? client.protocolVersion],
    ['connected since', new Date(client.connectedSinceMs).toISOString()],
    ['keep alive', keepAliveSeconds === 0 ? 'none' : `${keepAliveSeconds} s`],
    ['session expiry', expiryText(sessionExpirySeconds)],
    ['subscriptions', client.subscriptions],
    ['in flight', client.inFlight],
    ['lag', `${client.lagRecords} records`],
    ['trimmed before it was read', trimmedText(client)],
    ['received', bytesText(client.receivedBytes)],
    ['sent', bytesText(client.sentBytes)],
  ];
}

function trimmedText({ trimmedRecords, trimmedTopic, trimmedAtMs }: Listed): string {
  if (trimmedRecords === 0) return 'nothing';
  const at = new Date(trimmedAtMs).toISOString();
  return `${trimmedRecords} records, the last of ${shownText(trimmedTopic)} at ${at}`;
}

function expiryText(seconds: number): string {
  if (seconds === 0) return 'ends with the connection';
  return seconds === forEver ? 'never' : `${seconds} s`;
}

function addressText({ address, port }: Listed): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function clientJson(client: Listed): object {
  const { protocolVersion, sessionExpirySeconds, connectedSinceMs, trimmedAtMs } = client;
  return {
    ...client,
    protocolVersion: versionWords[protocolVersion] ?? String(protocolVersion),
    sessionExpirySeconds: sessionExpirySeconds === forEver ? null : sessionExpirySeconds,
    connectedSince: new Date(connectedSinceMs).toISOString(),
    trimmedAt: trimmedAtMs === 0 ? null : new Date(trimmedAtMs).toISOString(),
  };
}
