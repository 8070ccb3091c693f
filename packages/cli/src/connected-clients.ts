import { OperatingError } from '@robustmq/core';
import {
  brokerAdminMethods,
  type ClientFilter,
  type ConnectedClient,
  type ConnectedSubscription,
  type RpcClient,
  type SubscriptionPosition,
} from '@robustmq/rpc';

import { askBrokers } from './broker-answers.ts';
import type { Options } from './options.ts';

type Flags = Readonly<Record<string, unknown>>;

/** Rows of all brokers. */
export interface Listed<T> {
  readonly rows: readonly (T & { readonly broker: string })[];
  /** There are more than were asked for. */
  readonly isCut: boolean;
}

const timeoutMs = 5_000;
const pageRowsMax = 1_000;
const rowsDefault = 1_000;

/** What `--client-id`, `--user` and `--address` say. */
export function clientFilter(flags: Flags): ClientFilter {
  const text = (name: string): string => {
    const value = flags[name];
    return typeof value === 'string' ? value : '';
  };
  return {
    clientId: '',
    clientIdPattern: text('client-id'),
    user: text('user'),
    address: text('address'),
  };
}

/** What `--limit` says. Throws INVALID_ARGUMENT. */
export function rowLimit(flags: Flags): number {
  const given = flags['limit'] ?? rowsDefault;
  const limit = typeof given === 'string' || typeof given === 'number' ? Number(given) : 0;
  if (Number.isSafeInteger(limit) && limit > 0) return limit;
  throw new OperatingError(
    'INVALID_ARGUMENT',
    `--limit ${JSON.stringify(given)}: must be a whole number above 0`,
  );
}

/** The clients of all brokers that the filter lets through, by client id. */
export function connectedClients(
  options: Options,
  filter: ClientFilter,
  limit: number,
): Promise<Listed<ConnectedClient>> {
  return listed(
    options,
    limit,
    (client) => allClients(client, filter, limit),
    (a, b) => compare(a.clientId, b.clientId),
  );
}

/** The subscriptions of clients of all brokers, by client id and filter. */
export function connectedSubscriptions(
  options: Options,
  wanted: { filter: ClientFilter; topicFilter: string },
  limit: number,
): Promise<Listed<ConnectedSubscription>> {
  return listed(
    options,
    limit,
    (client) => allSubscriptions(client, wanted, limit),
    (a, b) => compare(a.clientId, b.clientId) || compare(a.topicFilter, b.topicFilter),
  );
}

/** Each broker is asked for one more than are wanted: so it is known whether there are more. */
async function listed<T>(
  options: Options,
  limit: number,
  ask: (client: RpcClient) => Promise<readonly T[]>,
  order: (a: T, b: T) => number,
): Promise<Listed<T>> {
  const answers = await askBrokers(options, ask);
  const rows = answers
    .flatMap(({ nodeId, answer }) => answer.map((row) => ({ ...row, broker: nodeId })))
    .toSorted(order);
  return { rows: rows.slice(0, limit), isCut: rows.length > limit };
}

async function allClients(
  broker: RpcClient,
  filter: ClientFilter,
  wanted: number,
): Promise<ConnectedClient[]> {
  const clients: ConnectedClient[] = [];
  let after = 0;
  do {
    const limit = Math.min(pageRowsMax, wanted + 1 - clients.length);
    const request = { filter, after, limit };
    const page = await broker.call(brokerAdminMethods.listClients, request, { timeoutMs });
    clients.push(...page.clients);
    after = page.next;
  } while (after !== 0 && clients.length <= wanted);
  return clients;
}

async function allSubscriptions(
  broker: RpcClient,
  { filter, topicFilter }: { filter: ClientFilter; topicFilter: string },
  wanted: number,
): Promise<ConnectedSubscription[]> {
  const subscriptions: ConnectedSubscription[] = [];
  let after: SubscriptionPosition | undefined;
  do {
    const limit = Math.min(pageRowsMax, wanted + 1 - subscriptions.length);
    const request = { filter, topicFilter, after, limit };
    const page = await broker.call(brokerAdminMethods.listSubscriptions, request, { timeoutMs });
    subscriptions.push(...page.subscriptions);
    after = page.next;
  } while (after !== undefined && subscriptions.length <= wanted);
  return subscriptions;
}

/** By characters, as the brokers do it. */
function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** Says on standard error that there are more. */
export function tellIfCut({ rows, isCut }: Listed<unknown>): void {
  if (!isCut) return;
  process.stderr.write(
    `these are ${rows.length}, there are more; --limit N shows N, --client-id and others narrow it\n`,
  );
}
