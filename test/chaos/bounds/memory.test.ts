import { readFileSync } from 'node:fs';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Cluster } from '../../harness/cluster.ts';
import { connectMqtt } from '../../integration/mqtt-client.ts';
import { PacketClient } from '../../integration/packet-client.ts';
import { SeededRandom } from '../kill/seeded-random.ts';

const mebibyte = 1024 * 1024;
/** What the broker may grow by in the whole file, whatever its clients do; less than one of its floods. */
const growthMax = 192 * mebibyte;
const floodBytes = 256 * mebibyte;
const payload = Buffer.alloc(16 * 1024, 'x');
const floodMessages = floodBytes / payload.length;
const crowd = 1000;

let cluster: Cluster;
let restBytes: number;
beforeAll(async () => {
  cluster = await Cluster.start();
  await served();
  restBytes = resident();
});
afterAll(() => cluster[Symbol.asyncDispose]());

/** Resident memory of the broker. */
function resident(): number {
  const status = readFileSync(`/proc/${cluster.role('broker-1').pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
}

/** Fails when the broker has grown too much; to be called again and again. */
function checkGrowth(): void {
  expect((resident() - restBytes) / mebibyte).toBeLessThan(growthMax / mebibyte);
}

/** A newcomer connects, subscribes, publishes and receives. */
async function served(): Promise<void> {
  const client = await connectMqtt(cluster.mqtt());
  const received = new Promise((resolve) => client.once('message', resolve));
  await client.subscribeAsync('served', { qos: 1 });
  await client.publishAsync('served', 'x', { qos: 1 });
  await received;
  await client.endAsync();
}

async function flooded(qos: 0 | 1): Promise<void> {
  const window = 32;
  const { client } = await PacketClient.connect(cluster.mqtt(), { clientId: `flood-${qos}` });
  for (let sent = 0; sent < floodMessages; sent++) {
    const messageId = (sent % window) + 1;
    const message = {
      cmd: 'publish',
      topic: 'flood/x',
      payload,
      dup: false,
      retain: false,
    } as const;
    client.send(qos === 0 ? { ...message, qos } : { ...message, qos, messageId });
    if (qos === 1 && sent >= window - 1) await client.expect('puback');
    if (qos === 0) await client.drained();
    if (sent % 256 === 0) checkGrowth();
  }
  client.send({ cmd: 'pingreq' });
  while ((await client.next()).cmd !== 'pingresp');
  client[Symbol.dispose]();
}

describe.skipIf(process.platform !== 'linux')(
  'the memory of the broker stays within bounds',
  () => {
    it('subscribers at QoS 0, 1 and 2 stop reading', async () => {
      const stuck = await Promise.all(
        ([0, 1, 2] as const).map(async (qos) => {
          const kept = { clean: false, properties: { sessionExpiryInterval: 300 } };
          const name = { clientId: `stuck-${qos}`, ...kept };
          const { client } = await PacketClient.connect(cluster.mqtt(), name);
          await client.subscribe('flood/#', qos);
          client.stopReading();
          return client;
        }),
      );
      await flooded(1);
      await served();
      checkGrowth();
      for (const client of stuck) client[Symbol.dispose]();
    });

    it('a publisher without limit at QoS 0', async () => {
      const { client } = await PacketClient.connect(cluster.mqtt(), { clientId: 'reader' });
      await client.subscribe('flood/#', 0);
      client.onPacket = () => {};
      await Promise.all([flooded(0), served()]);
      checkGrowth();
      client[Symbol.dispose]();
    });

    it('1,000 connections that send garbage are closed', async () => {
      const random = new SeededRandom(1);
      const garbage = Buffer.from(Array.from({ length: 64 * 1024 }, () => random.below(256)));
      const closed: Promise<void>[] = [];
      for (let count = 0; count < crowd; count++) {
        const client = await PacketClient.open(cluster.mqtt());
        const from = random.below(1024);
        client.sendBytes(garbage.subarray(from, from + 2 + random.below(garbage.length - 1024)));
        // A beginning that promises more than it brings is ended by the time for CONNECT.
        closed.push(client.closed);
        if (count % 100 === 0) checkGrowth();
      }
      await served();
      await Promise.all(closed);
      checkGrowth();
    });

    it('1,000 connections that send nothing are closed', async () => {
      const clients: PacketClient[] = [];
      for (let count = 0; count < crowd; count++)
        clients.push(await PacketClient.open(cluster.mqtt()));
      await served();
      checkGrowth();
      await Promise.all(clients.map(({ closed }) => closed));
      await served();
    });
  },
);
