import { OperatingError } from '@robustmq/core';
import type { IPublishPacket, MqttClient } from 'mqtt';

import { connectClient, countOf, qosOf, reasonOf } from '../mqtt/command-client.ts';
import { shownText } from '../shown-text.ts';

interface Input {
  readonly arguments: readonly string[];
  readonly flags: Readonly<Record<string, unknown>>;
}

/** `robustmq subscribe`: prints messages until there were so many, Ctrl-C, or the broker ends it. */
export async function runSubscribe({ arguments: filters, flags }: Input): Promise<void> {
  const qos = qosOf(flags);
  const count = countOf(flags) ?? Number.POSITIVE_INFINITY;
  const client = await connectClient(flags);
  const ended = untilEnough(client, count, flags);
  try {
    const rh = flags['retained'] === false ? 2 : 0;
    const granted = await client.subscribeAsync([...filters], { qos, rh });
    const refused = granted.find((one) => one.qos >= 0x80);
    if (refused !== undefined) throw new Error(`${refused.topic}: 0x${refused.qos.toString(16)}`);
    await ended;
  } catch (thrown) {
    throw new OperatingError('UNAVAILABLE', `subscribe: ${reasonOf(thrown)}`);
  } finally {
    await client.endAsync();
  }
}

function untilEnough(client: MqttClient, count: number, flags: Input['flags']): Promise<void> {
  let got = 0;
  const ended = new Promise<void>((resolve, reject) => {
    client.on('message', (_topic, payload, packet) => {
      if (got >= count) return;
      process.stdout.write(lineOf(packet, payload, flags));
      if (++got === count) resolve();
    });
    client.once('disconnect', ({ reasonCode = 0 }) =>
      reject(new Error(`the broker has ended the connection: 0x${reasonCode.toString(16)}`)),
    );
    client.once('error', reject);
    client.once('close', () => reject(new Error('the connection was lost')));
    process.once('SIGINT', () => resolve());
    process.once('SIGTERM', () => resolve());
    // Whoever read it has gone.
    process.stdout.once('error', () => resolve());
  });
  ended.catch(() => {});
  return ended;
}

function lineOf(packet: IPublishPacket, payload: Buffer, flags: Input['flags']): string | Buffer {
  if (flags['json'] === true) return `${JSON.stringify(jsonOf(packet, payload))}\n`;
  const topic = flags['verbose'] === true ? `${packet.topic} ` : '';
  // To a file or a pipe the bytes go as they came.
  if (!process.stdout.isTTY) {
    return Buffer.concat([Buffer.from(topic), payload, Buffer.from('\n')]);
  }
  return `${shownText(topic + payload.toString())}\n`;
}

function jsonOf({ topic, qos, retain, properties }: IPublishPacket, payload: Buffer): object {
  const text = payload.toString();
  const isText = Buffer.from(text).equals(payload);
  return {
    topic,
    qos,
    retain,
    ...(isText ? { payload: text } : { payloadBase64: payload.toString('base64') }),
    ...(properties?.contentType !== undefined && { contentType: properties.contentType }),
    ...(properties?.userProperties !== undefined && { userProperties: properties.userProperties }),
  };
}
