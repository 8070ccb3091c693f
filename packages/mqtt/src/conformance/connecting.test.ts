import { RawMqttClient } from '@robustmq/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { bytes, packet, properties } from '../codec/test-packets.ts';
import { MqttRig } from '../server/mqtt-rig.fixture.ts';

const keep = { sessionExpiryInterval: 1000 };
const none = Buffer.of(0);
let rig: MqttRig;
beforeAll(async () => {
  rig = await MqttRig.start();
});
afterAll(() => rig[Symbol.asyncDispose]());

/** Sends bytes as the first ones of a connection; what came back before it ended. */
async function firstBytes(data: Buffer): Promise<Buffer> {
  const client = await rig.open(5);
  client.write(data);
  await client.closed;
  return Buffer.concat(client.chunks);
}

describe('a CONNECT that does not match its format', () => {
  const connect5 = (flags: number, ...payload: Parameters<typeof bytes>): Buffer =>
    packet(0x10, 'MQTT', 5, flags, 0, 0, none, ...payload);
  const connect4 = (flags: number, ...payload: Parameters<typeof bytes>): Buffer =>
    packet(0x10, 'MQTT', 4, flags, 0, 0, ...payload);
  const surrogate = bytes(0, 3, 0xed, 0xa0, 0x80);

  it.each([
    ['[MQTT5-3.1.2-3, -3.1.4-1, -3.2.2-7] the reserved flag', connect5(3, 'c'), 0x81],
    ['[MQTT5-3.1.2-9] a will flag without a will', connect5(6, 'c'), 0x81],
    ['[MQTT5-3.1.2-11] will QoS without a will', connect5(0x0a, 'c'), 0x82],
    ['[MQTT5-3.1.2-12] will QoS 3', connect5(0x1e, 'c', none, 'w', 'p'), 0x81],
    ['[MQTT5-3.1.2-13] will retain without a will', connect5(0x22, 'c'), 0x82],
    ['[MQTT5-3.1.2-16] a user name without its flag', connect5(2, 'c', 'user'), 0x81],
    ['[MQTT5-3.1.2-17] a user name flag without one', connect5(0x82, 'c'), 0x81],
    ['[MQTT5-3.1.2-18] a password without its flag', connect5(0x82, 'c', 'user', 'pass'), 0x81],
    ['[MQTT5-3.1.2-19] a password flag without one', connect5(0xc2, 'c', 'user'), 0x81],
    ['[MQTT5-3.1.3-1, -3.1.3-3] no client id', connect5(2), 0x81],
    ['[MQTT5-3.1.3-4] a client id that is no UTF-8', connect5(2, surrogate), 0x81],
    [
      '[MQTT5-3.1.3-11] a will topic that is no UTF-8',
      connect5(6, 'c', none, surrogate, 'p'),
      0x81,
    ],
    [
      '[MQTT5-3.3.2-14] a response topic with a wildcard in a will',
      connect5(6, 'c', properties([0x08, 'a/+']), 'w', 'p'),
      0x82,
    ],
    ['[MQTT5-3.1.3-12] a user name that is no UTF-8', connect5(0x82, 'c', surrogate), 0x81],
    ['[MQTT5-3.1.2-2] a version that is not served', packet(0x10, 'MQTT', 6, 2, 0, 0, 'c'), 0x84],
  ] as const)('MQTT 5 %s is refused and closed', async (_title, data, reasonCode) => {
    const answer = await firstBytes(data);
    expect([answer[0], answer[2], answer[3]]).toEqual([0x20, 0, reasonCode]);
  });

  it.each([
    ['[MQTT-3.1.2-3] the reserved flag', connect4(3, 'c')],
    ['[MQTT-3.1.2-9] a will flag without a will', connect4(6, 'c')],
    ['[MQTT-3.1.2-11, -13] will QoS without a will', connect4(0x0a, 'c')],
    ['[MQTT-3.1.2-14] will QoS 3', connect4(0x1e, 'c', 'w', 'p')],
    ['[MQTT-3.1.2-15] will retain without a will', connect4(0x22, 'c')],
    ['[MQTT-3.1.2-18] a user name without its flag', connect4(2, 'c', 'user')],
    ['[MQTT-3.1.2-19] a user name flag without one', connect4(0x82, 'c')],
    ['[MQTT-3.1.2-20] a password without its flag', connect4(0x82, 'c', 'user', 'pass')],
    ['[MQTT-3.1.2-21] a password flag without one', connect4(0xc2, 'c', 'user')],
    ['[MQTT-3.1.2-22] a password without a user name', connect4(0x42, 'c', 'pass')],
    ['[MQTT-3.1.3-1, -3] no client id', connect4(2)],
    ['[MQTT-3.1.3-4] a client id that is no UTF-8', connect4(2, surrogate)],
    ['[MQTT-3.1.3-10] a will topic that is no UTF-8', connect4(6, 'c', surrogate, 'p')],
    ['[MQTT-3.1.3-11] a user name that is no UTF-8', connect4(0x82, 'c', surrogate)],
  ] as const)('[MQTT-3.1.4-1] 3.1.1 %s is closed without an answer', async (_title, data) => {
    expect(await firstBytes(data)).toEqual(Buffer.alloc(0));
  });

  it.each(['MQTX', 'mqtt', 'HTTP'])(
    '[MQTT5-3.1.2-1, MQTT-3.1.2-1] another protocol, %s: closed, and no session is made',
    async (name) => {
      await firstBytes(packet(0x10, name, 5, 2, 0, 0, none, 'other-protocol'));
      await firstBytes(packet(0x10, name, 4, 2, 0, 0, 'other-protocol'));
      expect(rig.sessions.calls.some(({ clientId }) => clientId === 'other-protocol')).toBe(false);
    },
  );

  it('[MQTT-3.1.2-2, -3.2.2-4, -3.2.2-5] a level of 3.1.1 that is not served is answered 0x01', async () => {
    expect(await firstBytes(packet(0x10, 'MQTT', 3, 2, 0, 0, 'c'))).toEqual(packet(0x20, 0, 1));
  });

  it('[MQTT5-3.14.0-1] gets no DISCONNECT, which may only follow a CONNACK', async () => {
    for (const data of [connect5(3, 'c'), packet(0xe0, 0, none), packet(0xc0)]) {
      const answer = await firstBytes(data);
      expect(answer.length === 0 || answer[0] === 0x20).toBe(true);
      expect(answer.includes(0xe0)).toBe(false);
    }
  });

  it('[MQTT5-3.1.0-1, MQTT-3.1.0-1] anything but CONNECT closes without an answer', async () => {
    for (const data of [packet(0xc0), packet(0x30, 'a', none), packet(0x82, 0, 1, 'a', 0)]) {
      expect(await firstBytes(data)).toEqual(Buffer.alloc(0));
    }
  });
});

describe('the answer to CONNECT', () => {
  it.each([3, 4, 5] as const)(
    '[MQTT5-3.1.4-5, -3.2.0-1, -3.2.0-2, -3.2.2-1, MQTT-3.1.4-4, -3.2.0-1] one CONNACK, first and with reserved bits 0, version %i',
    async (version) => {
      const client = await rig.open(version);
      client.sendConnect({ clientId: `answer-${version}` });
      client.send({ cmd: 'pingreq' });
      await client.pick('pingresp');
      const answer = Buffer.concat(client.chunks);
      expect([answer[0], answer[2], answer[3]]).toEqual([0x20, 0, 0]);
      const rest = answer.subarray(2 + (answer[1] ?? 0));
      expect(rest).toEqual(packet(0xd0));
    },
  );

  it.each([4, 5] as const)(
    '[MQTT5-3.1.0-2, MQTT-3.1.0-2] a second CONNECT ends the connection, without a second CONNACK, version %i',
    async (version) => {
      const client = await rig.connect({ version, clientId: `twice-${version}` });
      client.sendConnect({ clientId: `twice-${version}` });
      await client.closed;
      const rest = await client.receive().catch(() => undefined);
      if (version === 5) expect(rest).toMatchObject({ cmd: 'disconnect', reasonCode: 0x82 });
      else expect(rest).toBeUndefined();
    },
  );

  it('[MQTT5-3.2.2-9, -10, -12, -13, MQTT-3.8.3-2] names no limit, since every QoS, wildcards and retain are served', async () => {
    const will = { topic: 'served/will', payload: Buffer.from('w'), qos: 2, retain: true } as const;
    const { client, connack } = await RawMqttClient.connect(rig.server.address, {
      clientId: 'served',
      will,
    });
    expect(connack.reasonCode).toBe(0);
    expect(connack.properties).not.toHaveProperty('maximumQoS');
    expect(connack.properties).not.toHaveProperty('retainAvailable');
    expect(connack.properties).not.toHaveProperty('wildcardSubscriptionAvailable');
    for (const qos of [0, 1, 2] as const) {
      expect(await client.subscribe(`served/+/${qos}/#`, { qos })).toBe(qos);
    }
    const old = await rig.connect({ version: 4, clientId: 'served-old' });
    expect(await old.subscribe('served/+/#', { qos: 2 })).toBe(2);
    await client.disconnect();
  });

  it.each([true, false, undefined])(
    '[MQTT5-3.1.2-28] has no response information, request %s',
    async (requestResponseInformation) => {
      const own = requestResponseInformation === undefined ? {} : { requestResponseInformation };
      const { client, connack } = await RawMqttClient.connect(rig.server.address, {
        clientId: 'responder',
        properties: own,
      });
      expect(connack.properties).not.toHaveProperty('responseInformation');
      await client.destroy();
    },
  );

  it('[MQTT5-4.12.0-6] has no authentication method when the client named none', async () => {
    const { client, connack } = await RawMqttClient.connect(rig.server.address, { clientId: 'a' });
    expect(connack.properties).not.toHaveProperty('authenticationMethod');
    expect(await client.untilPong()).toEqual([]);
    await client.destroy();
  });

  it('[MQTT5-3.1.4-2, -3.1.4-6, -3.2.2-6, -3.2.2-7, -3.2.2-8, MQTT-3.1.4-5] a refusal is a CONNACK without a session, then the end', async () => {
    const watcher = await rig.connect({ clientId: 'refusal-watcher' });
    await watcher.subscribe('refused/#');
    const client = await rig.open(5);
    client.sendConnect({
      clientId: 'refused',
      clean: false,
      will: { topic: '$SYS/w', payload: Buffer.from('w'), qos: 0, retain: false },
    });
    client.publish('refused/x', 'not looked at');
    expect(await client.expect('connack')).toMatchObject({
      sessionPresent: false,
      reasonCode: 0x90,
    });
    await client.closed;
    await watcher.publishAcked('refused/marker', 'marker');
    expect(await watcher.payloads(1)).toEqual(['marker']);
  });

  it.each([3, 4] as const)(
    '[MQTT-3.1.4-5, -3.2.2-4, -3.2.2-5] is 5 for a will to a topic of the server’s, version %i',
    async (version) => {
      const client = await rig.open(version);
      client.sendConnect({
        clientId: 'server-will',
        will: { topic: '$SYS/w', payload: Buffer.from('w'), qos: 0, retain: false },
      });
      expect(await client.expect('connack')).toMatchObject({
        returnCode: 5,
        sessionPresent: false,
      });
      await client.closed;
      expect(rig.sessions.sessions.has('server-will')).toBe(false);
    },
  );

  it('[MQTT-3.2.2-6] is left out where no return code of 3.1.1 says what is wrong', async () => {
    const client = await rig.open(4);
    client.write(packet(0x10, 'MQTT', 4, 0x1e, 0, 0, 'c', 'w', 'p'));
    await client.closed;
    expect(client.chunks).toEqual([]);
  });

  it.each([
    { maximumPacketSize: 1, answer: 'nothing' },
    { maximumPacketSize: 4, answer: 'nothing' },
    { maximumPacketSize: 5, answer: 'refused' },
    { maximumPacketSize: 15, answer: 'refused' },
    { maximumPacketSize: 16, answer: 'accepted' },
  ])('[MQTT5-3.1.2-24] is not larger than $maximumPacketSize bytes: $answer', async (row) => {
    const { maximumPacketSize, answer } = row;
    const client = await rig.open(5);
    const before = rig.sessions.calls.length;
    client.sendConnect({ clientId: 'narrow', properties: { maximumPacketSize } });
    if (answer !== 'accepted') await client.closed;
    if (answer !== 'nothing') {
      const expected = answer === 'accepted' ? 0 : 0x95;
      expect(await client.expect('connack')).toMatchObject({ reasonCode: expected });
    }
    for (const { length } of client.chunks) expect(length).toBeLessThanOrEqual(maximumPacketSize);
    if (answer !== 'accepted') expect(rig.sessions.calls.length).toBe(before);
    await client.destroy();
  });
});

describe('the client id', () => {
  const letters = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';

  it.each([3, 4, 5] as const)(
    '[MQTT5-3.1.3-5, MQTT-3.1.3-5] of 1 to 23 letters and digits is accepted, version %i',
    async (version) => {
      const ids = ['0', 'Z', letters.slice(0, 23), letters.slice(-23), letters.slice(23, 46)];
      for (const clientId of ids) {
        const client = await rig.connect({ version, clientId });
        await client.disconnect();
      }
    },
  );

  it.each([4, 5] as const)(
    '[MQTT5-3.1.3-2, MQTT-3.1.3-2] names the session: another id has another one, version %i',
    async (version) => {
      const own = version === 5 ? { properties: keep } : {};
      const first = await rig.connect({
        version,
        clientId: `own-${version}`,
        clean: false,
        ...own,
      });
      await first.subscribe(`own/${version}`, { qos: 1 });
      await first.disconnect();
      for (const [clientId, sessionPresent] of [
        [`OWN-${version}`, false],
        [`own-${version} `, false],
        [`own-${version}`, true],
      ] as const) {
        const fields = { version, clientId, clean: false, ...own };
        const { client, connack } = await RawMqttClient.connect(rig.server.address, fields);
        expect(connack.sessionPresent).toBe(sessionPresent);
        await client.destroy();
      }
    },
  );

  it('[MQTT5-3.1.3-6, -3.1.3-7, -3.2.2-16] an empty one is replaced, told, and the client’s own from then on', async () => {
    const client = await rig.open(5);
    // The library refuses to write such a packet.
    client.write(packet(0x10, 'MQTT', 5, 0, 0, 0, properties([0x11, 0, 0, 1, 0]), ''));
    const connack = await client.expect('connack');
    const assigned = connack.properties?.assignedClientIdentifier ?? '';
    expect(assigned).not.toBe('');
    await client.subscribe('assigned', { qos: 1 });
    await client.disconnect();
    const again = await RawMqttClient.connect(rig.server.address, {
      clientId: assigned,
      clean: false,
      properties: keep,
    });
    expect(again.connack.sessionPresent).toBe(true);
    await again.client.destroy();
  });

  it('[MQTT-3.1.3-6] an empty one with CleanSession is replaced by one that nobody has', async () => {
    const before = rig.sessions.calls.length;
    const clients = [0, 1].map(async () => {
      const client = await rig.open(4);
      client.write(packet(0x10, 'MQTT', 4, 2, 0, 0, ''));
      expect((await client.expect('connack')).returnCode).toBe(0);
      return client;
    });
    for (const client of await Promise.all(clients)) expect(await client.untilPong()).toEqual([]);
    const granted = rig.sessions.calls.slice(before).filter(({ call }) => call === 'connect');
    expect(new Set(granted.map(({ clientId }) => clientId)).size).toBe(2);
  });

  it('[MQTT-3.1.3-7, -3.1.3-8, -3.1.3-9, -3.2.2-4, -3.2.2-5] an empty one without CleanSession is answered 0x02', async () => {
    expect(await firstBytes(packet(0x10, 'MQTT', 4, 0, 0, 0, ''))).toEqual(packet(0x20, 0, 2));
  });

  it('[MQTT5-3.1.3-8] one that cannot be is refused and closed', async () => {
    const answer = await firstBytes(packet(0x10, 'MQTT', 5, 2, 0, 0, none, bytes(0, 1, 0)));
    expect([answer[0], (answer[3] ?? 0) >= 0x80]).toEqual([0x20, true]);
  });
});

describe('properties of CONNECT', () => {
  it('[MQTT5-2.2.2-1] a property length of 0 says that there are none', async () => {
    const client = await rig.open(5);
    client.write(packet(0x10, 'MQTT', 5, 2, 0, 0, properties(), 'plain'));
    expect(await client.expect('connack')).toMatchObject({ reasonCode: 0 });
  });
});
