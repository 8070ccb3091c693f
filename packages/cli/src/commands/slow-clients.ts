import { brokerAdminMethods, type SlowClient } from '@robustmq/rpc';

import { table } from '../administration.ts';
import { askBrokers } from '../broker-answers.ts';
import { rowLimit } from '../connected-clients.ts';
import type { Options } from '../options.ts';
import { shownText } from '../shown-text.ts';

const timeoutMs = 5_000;
const head = 'CLIENT|BROKER|WAITED|TOPIC|AT|LAG'.split('|');

type Listed = SlowClient & { readonly broker: string };

/** `robustmq client slow`: clients that got messages late in the last minutes, or have not got them yet. */
export async function listSlowClients(
  options: Options,
  { flags }: { readonly flags: Readonly<Record<string, unknown>> },
): Promise<void> {
  const limit = rowLimit(flags);
  const answers = await askBrokers(options, (client) =>
    client.call(brokerAdminMethods.listSlowClients, { limit }, { timeoutMs }),
  );
  const rows = answers
    .flatMap(({ nodeId, answer }) => answer.clients.map((one) => ({ ...one, broker: nodeId })))
    .toSorted((a, b) => b.waitedMs - a.waitedMs || b.lagRecords - a.lagRecords)
    .slice(0, limit);
  const text = flags['json']
    ? `${JSON.stringify(rows, null, 2)}\n`
    : table([head, ...rows.map(slowRow)]);
  process.stdout.write(text);
}

function slowRow(client: Listed): (string | number)[] {
  const isLate = client.waitedMs > 0;
  return [
    shownText(client.clientId),
    client.broker,
    isLate ? `${client.waitedMs} ms` : '-',
    isLate ? shownText(client.topic) : '-',
    isLate ? new Date(client.atMs).toISOString() : '-',
    client.lagRecords,
  ];
}
