import { connect as open, connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { describe, expect, it } from 'vitest';

import { MqttRig } from './mqtt-rig.fixture.ts';

function connect(rig: MqttRig, options: IClientOptions): Promise<MqttClient> {
  return connectAsync(`mqtt://${rig.server.address}`, { reconnectPeriod: 0, ...options });
}

/** The next so many messages. */
function messages(client: MqttClient, count: number): Promise<string[]> {
  const got: string[] = [];
  return new Promise((resolve) => {
    const take = (topic: string, payload: Buffer): void => {
      got.push(`${topic} ${String(payload)}`);
      if (got.length < count) return;
      client.off('message', take);
      resolve(got);
    };
    client.on('message', take);
  });
}

describe('MQTT.js', () => {
  it.each([3, 4, 5] as const)(
    '[MQTT-7.0.0-2] publishes and subscribes at every QoS, version %i',
    async (level) => {
      await using rig = await MqttRig.start();
      const options = {
        protocolVersion: level,
        ...(level === 3 && { protocolId: 'MQIsdp' as const }),
      };
      const subscriber = await connect(rig, { ...options, clientId: 's' });
      const publisher = await connect(rig, { ...options, clientId: 'p' });
      await subscriber.subscribeAsync('a/#', { qos: 2 });
      const wanted = messages(subscriber, 3);
      for (const qos of [0, 1, 2] as const) await publisher.publishAsync('a/b', `${qos}`, { qos });
      expect(await wanted).toEqual(['a/b 0', 'a/b 1', 'a/b 2']);
      await subscriber.unsubscribeAsync('a/#');
      await Promise.all([subscriber.endAsync(), publisher.endAsync()]);
    },
  );

  it('takes up a durable session, with a topic alias, properties and a retained message', async () => {
    await using rig = await MqttRig.start();
    const options: IClientOptions = {
      protocolVersion: 5,
      clientId: 's',
      clean: false,
      properties: { sessionExpiryInterval: 100 },
    };
    const publisher = await connect(rig, {
      protocolVersion: 5,
      clientId: 'p',
      autoAssignTopicAlias: true,
    });
    await publisher.publishAsync('r/1', 'kept', { qos: 1, retain: true });
    const first = await connect(rig, options);
    const retained = messages(first, 1);
    await first.subscribeAsync('r/#', { qos: 1 });
    expect(await retained).toEqual(['r/1 kept']);
    await first.endAsync();
    for (const at of [1, 2, 3]) await publisher.publishAsync('r/2', `${at}`, { qos: 1 });
    const second = await connectPaused(rig, options);
    expect(await second.first).toEqual(['r/2 1', 'r/2 2', 'r/2 3']);
    await Promise.all([second.client.endAsync(), publisher.endAsync()]);
  });

  it('a will with a delay is handed over as it was given', async () => {
    await using rig = await MqttRig.start();
    const client = await connect(rig, {
      protocolVersion: 5,
      clientId: 'w',
      will: {
        topic: 'gone',
        payload: Buffer.from('bye'),
        qos: 1,
        retain: false,
        properties: { willDelayInterval: 3 },
      },
    });
    client.stream.destroy();
    while (rig.sessions.wills.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(rig.sessions.wills[0]?.will).toMatchObject({ topic: 'gone', delaySeconds: 3 });
    await client.endAsync(true);
  });
});

/** Connects a client whose first three messages are listened for before they can come. */
async function connectPaused(
  rig: MqttRig,
  options: IClientOptions,
): Promise<{ client: MqttClient; first: Promise<string[]> }> {
  const client = open(`mqtt://${rig.server.address}`, { reconnectPeriod: 0, ...options });
  const first = messages(client, 3);
  await new Promise((resolve) => client.once('connect', resolve));
  return { client, first };
}
