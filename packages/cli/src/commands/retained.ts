import {
  brokerAdminMethods,
  type ListedRetained,
  type RetainedPlace,
  type RpcClient,
} from '@robustmq/rpc';

import { table } from '../administration.ts';
import { askAnyBroker } from '../broker-answers.ts';
import { bytesText } from '../bytes-text.ts';
import { confirm } from '../confirm.ts';
import { rowLimit } from '../connected-clients.ts';
import type { Options } from '../options.ts';
import { shownText } from '../shown-text.ts';

interface Input {
  readonly arguments: readonly string[];
  readonly flags: Readonly<Record<string, unknown>>;
}

/** A coordinator that has just moved is waited for. */
const timeoutMs = 15_000;
const pageRowsMax = 1_000;
const payloadLength = 40;
const head = 'TOPIC|BYTES|QOS|PUBLISHED|EXPIRES|PAYLOAD'.split('|');

/** `robustmq retained list`: retained messages of the whole cluster. */
export async function listRetained(options: Options, input: Input): Promise<void> {
  const [topicFilter = '#'] = input.arguments;
  const limit = rowLimit(input.flags);
  const found = await askAnyBroker(options, (broker) => matches(broker, topicFilter, limit));
  const rows = found.slice(0, limit).toSorted((a, b) => (a.topic < b.topic ? -1 : 1));
  const text = input.flags['json']
    ? `${JSON.stringify(rows.map(retainedJson), null, 2)}\n`
    : table([head, ...rows.map(retainedRow)]);
  process.stdout.write(text);
  if (found.length <= limit) return;
  process.stderr.write(
    `these are ${limit}, there are more; --limit N shows N, a topic filter narrows it\n`,
  );
}

/** `robustmq retained clear`: as an empty retained publish to each name does. */
export async function clearRetained(options: Options, input: Input): Promise<void> {
  const [topicFilter = ''] = input.arguments;
  const shown = shownText(topicFilter);
  process.stderr.write(`This clears every retained message that ${shown} matches.\n`);
  await confirm(topicFilter, input.flags);
  let cleared = 0;
  try {
    await askAnyBroker(options, async (broker) => {
      let from: RetainedPlace | undefined;
      do {
        const request = { topicFilter, from };
        const page = await broker.call(brokerAdminMethods.clearRetained, request, { timeoutMs });
        cleared += page.cleared;
        from = page.next;
      } while (from !== undefined);
    });
  } finally {
    process.stdout.write(`cleared ${cleared} retained messages\n`);
  }
}

/** One more than are wanted, if there are more. */
async function matches(
  broker: RpcClient,
  topicFilter: string,
  wanted: number,
): Promise<ListedRetained[]> {
  const found: ListedRetained[] = [];
  let from: RetainedPlace | undefined;
  do {
    const limit = Math.min(pageRowsMax, wanted + 1 - found.length);
    const request = { topicFilter, from, limit };
    const page = await broker.call(brokerAdminMethods.listRetained, request, { timeoutMs });
    found.push(...page.messages);
    from = page.next;
  } while (from !== undefined && found.length <= wanted);
  return found;
}

function retainedRow(one: ListedRetained): (string | number)[] {
  return [
    shownText(one.topic),
    bytesText(one.payloadBytes),
    one.qos,
    new Date(one.appendTimeMs).toISOString(),
    one.expiresAtMs === undefined ? 'never' : new Date(one.expiresAtMs).toISOString(),
    payloadText(one),
  ];
}

/** The first characters of a text; what is none is told as bytes. */
function payloadText({ payloadStart, payloadBytes }: ListedRetained): string {
  const text = payloadStart.toString('utf8');
  const isCut = payloadBytes > payloadStart.length;
  // A character may be cut in two at the end of what was sent.
  const whole = isCut ? text.replace(/\uFFFD+$/u, '') : text;
  if (whole.includes('\uFFFD')) return `0x${payloadStart.toString('hex').slice(0, payloadLength)}…`;
  const characters = Array.from(whole);
  const isLong = isCut || characters.length > payloadLength;
  return shownText(characters.slice(0, payloadLength).join('')) + (isLong ? '…' : '');
}

function retainedJson(one: ListedRetained): object {
  const { payloadStart, appendTimeMs, expiresAtMs, ...rest } = one;
  return {
    ...rest,
    published: new Date(appendTimeMs).toISOString(),
    expires: expiresAtMs === undefined ? null : new Date(expiresAtMs).toISOString(),
    payloadStartBase64: payloadStart.toString('base64'),
  };
}
