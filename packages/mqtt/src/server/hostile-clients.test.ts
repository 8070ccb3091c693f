import { seededRandom, randomInteger } from '@robustmq/core';
import { RawMqttClient, VirtualClock } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';

import { packet, samples } from '../codec/test-packets.ts';
import { MqttRig } from './mqtt-rig.fixture.ts';
import { until } from './until.fixture.ts';

describe('clients that mean no good', () => {
  it('1,000 that send garbage are closed, others are served', async () => {
    await using rig = await MqttRig.start();
    const good = await rig.connect({ clientId: 'good' });
    await good.subscribe('t', { qos: 1 });
    const random = seededRandom(5);
    const connect = samples.filter(({ name }) => name.startsWith('CONNECT'));
    const closing: Promise<void>[] = [];
    for (let at = 0; at < 1_000; at++) {
      const client = await RawMqttClient.open(rig.server.address);
      closing.push(client.closed);
      // Some come as far as a session, the rest is noise.
      if (at % 3 === 0) client.write(connect[at % connect.length]?.bytes ?? Buffer.alloc(0));
      client.write(random.bytes(1 + randomInteger(random, 600)));
      // What looks like the beginning of a long packet would wait for the rest.
      client.end();
      if (at % 100 === 0) expect(await good.publishAcked('t', `${at}`)).toBe(0);
    }
    await Promise.all(closing);
    await until(() => rig.server.counters.connections === 1);
    expect(await good.payloads(10)).toHaveLength(10);
    expect([...rig.server.sessions()]).toHaveLength(1);
    expect([...rig.server.counters.faults.keys()].length).toBeGreaterThan(1);
  });

  it('1,000 that send nothing are closed in time, others are served', async () => {
    const clock = new VirtualClock();
    await using rig = await MqttRig.start({ clock });
    const silent = await Promise.all(
      Array.from({ length: 1_000 }, () => RawMqttClient.open(rig.server.address)),
    );
    await until(() => rig.server.counters.connections === 1_000);
    const good = await rig.connect({ clientId: 'good' });
    expect(await good.publishAcked('t', 'x')).toBe(0);
    await clock.advance(10_100);
    await Promise.all(silent.map(({ closed }) => closed));
    expect(rig.server.counters.connections).toBe(1);
  });

  it('a packet that announces 256 MB is refused at its header', async () => {
    await using rig = await MqttRig.start();
    const client = await rig.connect({ clientId: 'c' });
    client.write(Buffer.of(0x30, 0xff, 0xff, 0xff, 0x7f));
    expect(await client.expect('disconnect')).toMatchObject({ reasonCode: 0x95 });
    await client.closed;
    const stranger = await rig.open();
    stranger.write(Buffer.of(0x10, 0x81, 0x80, 0x04));
    await stranger.closed;
  });

  it('one that is cut off does not end its side: it is destroyed after a while', async () => {
    const clock = new VirtualClock();
    await using rig = await MqttRig.start({ clock });
    const client = await rig.connect({ clientId: 'c' });
    client.pause();
    client.write(packet(0x00));
    await until(() => rig.server.counters.connections === 0);
    for (let at = 0; at < 50; at++) client.write(Buffer.alloc(60_000));
    await clock.advance(2_100);
    client.resume();
    await client.closed;
  });

  it('every packet of a client in every state ends at most its own connection', async () => {
    await using rig = await MqttRig.start();
    const good = await rig.connect({ clientId: 'good' });
    for (const { bytes, version } of samples) {
      const before = await rig.open();
      before.write(bytes);
      const within = await rig.connect({ version: version ?? 5, clientId: 'victim' });
      within.write(bytes);
      within.write(packet(0xe0));
      await within.closed;
      await before.destroy();
    }
    expect(await good.publishAcked('t', 'x')).toBe(0);
  });
});
