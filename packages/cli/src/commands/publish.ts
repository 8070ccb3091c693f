import { createInterface } from 'node:readline';
import { buffer } from 'node:stream/consumers';

import { OperatingError } from '@robustmq/core';
import type { IClientPublishOptions, MqttClient } from 'mqtt';

import { connectClient, countOf, qosOf, reasonOf } from '../mqtt/command-client.ts';

interface Input {
  readonly arguments: readonly string[];
  readonly flags: Readonly<Record<string, unknown>>;
}

/** Publishes that are not acknowledged yet. */
const underWayMax = 100;

/** `robustmq publish`: a message from the command line, from standard input, or one from each of its lines. */
export async function runPublish({ arguments: [topic = ''], flags }: Input): Promise<void> {
  const options: IClientPublishOptions = { qos: qosOf(flags), retain: flags['retain'] === true };
  const messages = messagesOf(flags);
  const client = await connectClient(flags);
  try {
    await publishAll(client, { topic, options, messages });
  } catch (thrown) {
    throw new OperatingError('UNAVAILABLE', `publish to ${topic}: ${reasonOf(thrown)}`);
  } finally {
    await client.endAsync();
  }
}

async function publishAll(
  client: MqttClient,
  {
    topic,
    options,
    messages,
  }: {
    topic: string;
    options: IClientPublishOptions;
    messages: AsyncIterable<string | Buffer>;
  },
): Promise<void> {
  const lost = lostConnection(client);
  const underWay = new Set<Promise<unknown>>();
  for await (const message of messages) {
    const sent = client.publishAsync(topic, message, options).finally(() => underWay.delete(sent));
    underWay.add(sent);
    // Whoever waits for it below hears of it; nobody may until then.
    sent.catch(() => {});
    if (underWay.size >= underWayMax) await Promise.race([...underWay, lost]);
  }
  await Promise.race([Promise.all(underWay), lost]);
}

/** Rejects when the broker ends the connection. */
function lostConnection(client: MqttClient): Promise<never> {
  const lost = new Promise<never>((_, reject) => {
    client.once('disconnect', ({ reasonCode = 0 }) =>
      reject(new Error(`the broker has ended the connection: 0x${reasonCode.toString(16)}`)),
    );
    client.once('error', reject);
    client.once('close', () => reject(new Error('the connection was lost')));
  });
  lost.catch(() => {});
  return lost;
}

async function* messagesOf(flags: Input['flags']): AsyncGenerator<string | Buffer> {
  const { message } = flags;
  if (flags['lines'] === true) {
    yield* createInterface({ input: process.stdin });
    return;
  }
  const payload = typeof message === 'string' ? message : await buffer(process.stdin);
  const count = countOf(flags) ?? 1;
  for (let at = 0; at < count; at++) yield payload;
}
