import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

import { commandMissing } from '@robustmq/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Cluster } from '../../harness/cluster.ts';
import { run } from '../../integration/command.ts';

const reason = commandMissing('mosquitto_pub', 'mosquitto-clients');
// The summary names neither the test nor why.
if (reason !== undefined) console.warn(`Mosquitto's clients are not tried: ${reason}`);
const title = `Mosquitto's clients${reason === undefined ? '' : ` (skipped: ${reason})`}`;

describe.skipIf(reason !== undefined)(title, () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await Cluster.start();
  });
  afterAll(() => cluster[Symbol.asyncDispose]());

  const at = (version: string): string[] => {
    const { host, port } = cluster.mqtt();
    return ['-h', host, '-p', String(port), '-V', version];
  };

  it.each(['mqttv31', 'mqttv311', 'mqttv5'])(
    '[MQTT-7.0.0-2] publish and subscribe at every QoS, %s',
    async (version) => {
      const topic = `mosquitto/${version}`;
      const filter = ['-t', 'mosquitto/+', '-q', '2'];
      const subscriber = await subscribed([...at(version), ...filter, '-C', '3', '-F', '%t %q %p']);
      for (const qos of ['0', '1', '2']) {
        const message = ['-t', topic, '-q', qos, '-m', `at ${qos}`];
        expect(await run('mosquitto_pub', ...at(version), ...message)).toMatchObject({ code: 0 });
      }
      expect((await subscriber.lines).toSorted()).toEqual(
        [0, 1, 2].map((q) => `${topic} ${q} at ${q}`),
      );
    },
  );

  it.each(['mqttv31', 'mqttv311', 'mqttv5'])(
    'get a retained message and, killed, leave their will, %s',
    async (version) => {
      const base = `kept/${version}`;
      const retained = ['-t', `${base}/value`, '-r', '-q', '1', '-m', 'kept'];
      await run('mosquitto_pub', ...at(version), ...retained);
      const reader = await subscribed([
        ...at(version),
        '-t',
        `${base}/#`,
        '-C',
        '2',
        '-F',
        '%r %t %p',
      ]);
      const will = ['--will-topic', `${base}/will`, '--will-payload', 'gone', '--will-qos', '1'];
      const mortal = await subscribed([...at(version), '-t', 'nothing', ...will]);
      mortal.kill();
      expect(await reader.lines).toEqual([`1 ${base}/value kept`, `0 ${base}/will gone`]);
    },
  );

  it('send properties of MQTT 5 and get them', async () => {
    const subscriber = await subscribed([
      ...at('mqttv5'),
      '-t',
      'properties',
      '-C',
      '1',
      '-F',
      '%C|%R|%D|%P|%p',
    ]);
    const property = (...words: string[]): string[] => ['-D', 'publish', ...words];
    const properties = [
      ...property('content-type', 'text/plain'),
      ...property('response-topic', 'answers'),
      ...property('correlation-data', 'c1'),
      ...property('user-property', 'b', '1'),
      ...property('user-property', 'a', '2'),
    ];
    await run('mosquitto_pub', ...at('mqttv5'), '-t', 'properties', '-m', 'x', ...properties);
    expect(await subscriber.lines).toEqual(['text/plain|answers|c1|b:1 a:2|x']);
  });
});

/** A mosquitto_sub that has its SUBACK; `lines` are what it prints of messages until it ends. */
async function subscribed(
  args: readonly string[],
): Promise<{ lines: Promise<string[]>; kill: () => void }> {
  // It would keep its lines until it ends.
  const child = spawn('stdbuf', ['-oL', 'mosquitto_sub', '-d', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const printed: string[] = [];
  const ready = Promise.withResolvers<void>();
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line.startsWith('Subscribed')) ready.resolve();
    else if (!/^(?:Client |Subscribed)/.test(line)) printed.push(line);
  });
  const lines = new Promise<string[]>((resolve) => child.once('close', () => resolve(printed)));
  await Promise.race([ready.promise, lines]);
  return { lines, kill: () => child.kill('SIGKILL') };
}
