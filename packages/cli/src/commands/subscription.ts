import type { ConnectedSubscription } from '@robustmq/rpc';

import { table } from '../administration.ts';
import { clientFilter, connectedSubscriptions, rowLimit, tellIfCut } from '../connected-clients.ts';
import type { Options } from '../options.ts';
import { shownText } from '../shown-text.ts';

interface Input {
  readonly flags: Readonly<Record<string, unknown>>;
}

const head = 'CLIENT|FILTER|QOS|NO LOCAL|RETAIN AS PUBLISHED|RETAIN HANDLING|ID|PARTITIONS'.split(
  '|',
);

/** `robustmq subscription list`: subscriptions of clients that are connected. */
export async function listSubscriptions(options: Options, { flags }: Input): Promise<void> {
  const given = flags['filter'];
  const topicFilter = typeof given === 'string' ? given : '';
  const wanted = { filter: clientFilter(flags), topicFilter };
  const listed = await connectedSubscriptions(options, wanted, rowLimit(flags));
  const text = flags['json']
    ? `${JSON.stringify(listed.rows, null, 2)}\n`
    : subscriptionTable(listed.rows);
  process.stdout.write(text);
  tellIfCut(listed);
}

export function subscriptionTable(subscriptions: readonly ConnectedSubscription[]): string {
  const rows = subscriptions.map((one) => [
    shownText(one.clientId),
    shownText(one.topicFilter),
    one.qos,
    one.noLocal ? 'yes' : 'no',
    one.retainAsPublished ? 'yes' : 'no',
    one.retainHandling,
    one.subscriptionId || '-',
    one.partitions,
  ]);
  return table([head, ...rows]);
}
