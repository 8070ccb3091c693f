import type { AccessData, MemoryAccess } from '@robustmq/auth';
import { RawMqttClient } from '@robustmq/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { ReasonCode } from '../codec/reason-code.ts';
import { accessOver, userNamed } from '../server/access.fixture.ts';
import { MqttRig } from '../server/mqtt-rig.fixture.ts';
import { ScramClient } from '../server/scram-client.fixture.ts';

const method = 'SCRAM-SHA-256';

function sendAuth(
  client: RawMqttClient,
  reasonCode: number,
  data: Buffer,
  authenticationMethod = method,
): void {
  const properties = { authenticationMethod, authenticationData: data };
  client.send({ cmd: 'auth', reasonCode, properties });
}

describe('SCRAM by AUTH', () => {
  let rig: MqttRig;
  let store: MemoryAccess;
  beforeEach(async () => {
    const data: Partial<AccessData> = {
      users: [await userNamed('alice'), await userNamed('bob')],
      settings: { anonymous: 'deny', fallback: 'allow', clientIds: 'any' },
    };
    const access = accessOver(data);
    store = access.store;
    rig = await MqttRig.start({ access: access.control });
  });
  afterEach(() => rig[Symbol.asyncDispose]());

  /** A client that has got the server's first message, if it got that far. */
  async function challenged(scram: ScramClient, clientId = 'c') {
    const client = await rig.open();
    const properties = { authenticationMethod: method, authenticationData: scram.first };
    client.sendConnect({ clientId, properties });
    const auth = await client.expect('auth');
    return { client, auth };
  }

  async function connected(name = 'alice'): Promise<RawMqttClient> {
    const scram = new ScramClient(name, `pw-${name}`);
    const { client, auth } = await challenged(scram);
    sendAuth(client, 0x18, scram.final(auth.properties?.authenticationData));
    expect(await client.expect('connack')).toMatchObject({ reasonCode: 0 });
    return client;
  }

  it('[MQTT5-4.12.0-2, -4.12.0-5] lets in who knows the password, names the method, and proves the server', async () => {
    const scram = new ScramClient('alice', 'pw-alice');
    const { client, auth } = await challenged(scram);
    expect(auth).toMatchObject({ reasonCode: 0x18, properties: { authenticationMethod: method } });
    sendAuth(client, 0x18, scram.final(auth.properties?.authenticationData));
    const { reasonCode, properties } = await client.expect('connack');
    expect(reasonCode).toBe(0);
    expect(properties?.authenticationMethod).toBe(method);
    expect(scram.isProven(properties?.authenticationData)).toBe(true);
    expect(await client.publishAcked('t', 'x')).toBe(0);
  });

  it.each([
    ['alice', 'wrong'],
    ['nobody', 'pw-alice'],
  ])('%s with the password %s is refused 0x86', async (name, password) => {
    const scram = new ScramClient(name, password);
    const { client, auth } = await challenged(scram);
    sendAuth(client, 0x18, scram.final(auth.properties?.authenticationData));
    expect(await client.expect('connack')).toMatchObject({ reasonCode: 0x86 });
    await client.closed;
  });

  it('[MQTT5-4.12.0-1] another method is refused 0x8C', async () => {
    const { client, connack } = await RawMqttClient.connect(rig.server.address, {
      clientId: 'c',
      properties: { authenticationMethod: 'SCRAM-SHA-1' },
    });
    expect(connack.reasonCode).toBe(ReasonCode.badAuthenticationMethod);
    await client.closed;
  });

  it('[MQTT5-4.12.0-4] a wrong proof ends the connection, and takes no session over', async () => {
    const first = await connected();
    const { client } = await challenged(new ScramClient('alice', 'x'));
    sendAuth(client, 0x18, Buffer.from('c=biws,r=x,p=AAAA'));
    await client.closed;
    expect(await first.untilPong()).toEqual([]);
  });

  it('[MQTT5-3.1.2-30] any other packet before CONNACK is refused', async () => {
    const { client } = await challenged(new ScramClient('alice', 'pw-alice'));
    client.publish('t', 'x', { qos: 1 });
    expect(await client.expect('connack')).toMatchObject({ reasonCode: 0x82 });
    await client.closed;
  });

  it('DISCONNECT before CONNACK ends it without an answer', async () => {
    const { client } = await challenged(new ScramClient('alice', 'pw-alice'));
    client.send({ cmd: 'disconnect' });
    await client.closed;
    await expect(client.receive()).rejects.toThrow('ended');
  });

  it.each([
    ['[MQTT5-4.12.0-5] of another method', 0x18, 'SCRAM-SHA-512', 0x8c],
    ['[MQTT5-4.12.0-3] that begins anew', 0x19, method, 0x82],
  ])('AUTH %s before CONNACK is refused', async (_what, reason, name, code) => {
    const { client } = await challenged(new ScramClient('alice', 'pw-alice'));
    sendAuth(client, reason, Buffer.from('x'), name);
    expect(await client.expect('connack')).toMatchObject({ reasonCode: code });
    await client.closed;
  });

  it('an AUTH above the limit before authentication is not buffered', async () => {
    const { client } = await challenged(new ScramClient('alice', 'pw-alice'));
    client.write(Buffer.of(0xf0, 0x80, 0x80, 0x08));
    await client.closed;
  });

  describe('again', () => {
    async function again(client: RawMqttClient, scram: ScramClient): Promise<void> {
      sendAuth(client, 0x19, scram.first);
      const { properties } = await client.expect('auth');
      sendAuth(client, 0x18, scram.final(properties?.authenticationData));
    }

    it('[MQTT5-4.12.1-1] is answered Success, and the connection goes on', async () => {
      const client = await connected();
      const scram = new ScramClient('alice', 'pw-alice');
      await again(client, scram);
      const { reasonCode, properties } = await client.expect('auth');
      expect(reasonCode).toBe(0);
      expect(scram.isProven(properties?.authenticationData)).toBe(true);
      expect(await client.publishAcked('t', 'x')).toBe(0);
    });

    it('other packets go on while it is under way', async () => {
      const client = await connected();
      sendAuth(client, 0x19, new ScramClient('alice', 'pw-alice').first);
      await client.expect('auth');
      expect(await client.publishAcked('t', 'x')).toBe(0);
    });

    it.each([
      ['[MQTT5-4.12.1-2] with a wrong password', new ScramClient('alice', 'x')],
      ['as another user', new ScramClient('bob', 'pw-bob')],
    ])('%s ends the connection 0x87', async (_what, scram) => {
      const client = await connected();
      await again(client, scram);
      expect(await client.expect('disconnect')).toMatchObject({ reasonCode: 0x87 });
      await client.closed;
    });

    it.each([
      ['[MQTT5-4.12.1-1] by another method', 0x19, 'SCRAM-SHA-512', 0x82],
      ['without a beginning', 0x18, method, 0x82],
    ])('%s ends the connection', async (_what, reason, name, code) => {
      const client = await connected();
      sendAuth(client, reason, Buffer.from('x'), name);
      expect(await client.expect('disconnect')).toMatchObject({ reasonCode: code });
      await client.closed;
    });

    it('beginning within an exchange is a protocol error', async () => {
      const client = await connected();
      const scram = new ScramClient('alice', 'pw-alice');
      sendAuth(client, 0x19, scram.first);
      await client.expect('auth');
      sendAuth(client, 0x19, scram.first);
      expect(await client.expect('disconnect')).toMatchObject({ reasonCode: 0x82 });
    });

    it('[MQTT5-4.12.0-7] a client that gave no method sends no AUTH', async () => {
      const client = await rig.connect({
        clientId: 'c',
        username: 'alice',
        password: Buffer.from('pw-alice'),
      });
      sendAuth(client, 0x19, Buffer.from('x'));
      expect(await client.expect('disconnect')).toMatchObject({ reasonCode: 0x82 });
      await client.closed;
    });
  });

  it('a user that is deleted between its two messages is not let in for long', async () => {
    const client = await connected();
    store.replace({ users: [await userNamed('bob')] });
    expect(await client.expect('disconnect')).toMatchObject({ reasonCode: 0x87 });
  });
});
