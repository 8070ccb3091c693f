import {
  type AccessData,
  type AccessRule,
  type Authenticator,
  type MemoryAccess,
} from '@robustmq/auth';
import { type ConnectFields, RawMqttClient, VirtualClock } from '@robustmq/testkit';
import { afterEach, describe, expect, it } from 'vitest';

import { accessOver, userNamed } from '../server/access.fixture.ts';
import { MqttRig, type MqttRigOptions } from '../server/mqtt-rig.fixture.ts';
import { until } from '../server/until.fixture.ts';

const keep = { sessionExpiryInterval: 1000 };
const both = ['publish', 'subscribe'] as const;

function rule(
  effect: AccessRule['effect'],
  operations: readonly ('publish' | 'subscribe')[],
  filter: string,
  more: Partial<AccessRule> = {},
): AccessRule {
  const resources = [{ kind: 'mqtt', filter, exact: false }] as const;
  return { effect, who: {}, operations, resources, ...more };
}

function as(name: string, more: ConnectFields = {}): ConnectFields {
  return { clientId: name, username: name, password: Buffer.from(`pw-${name}`), ...more };
}

describe('with users and rules', () => {
  let rig: MqttRig;
  let store: MemoryAccess;
  afterEach(() => rig[Symbol.asyncDispose]());

  async function start(
    data: Partial<AccessData>,
    own: Parameters<typeof accessOver>[1] = {},
    options: MqttRigOptions = {},
  ): Promise<void> {
    const access = accessOver(data, own);
    store = access.store;
    rig = await MqttRig.start({
      access: access.control,
      ...(own.clock && { clock: own.clock }),
      ...options,
    });
  }

  /** The code of the CONNACK. */
  async function connackOf(fields: ConnectFields): Promise<number | undefined> {
    const { client, connack } = await RawMqttClient.connect(rig.server.address, fields);
    await client.destroy();
    return fields.version === undefined ? connack.reasonCode : connack.returnCode;
  }

  describe('CONNECT', () => {
    it('is answered by who it is: 0x86 wrong, 0x87 nobody, 0x8A banned; 4 and 5 in MQTT 3', async () => {
      const ban = {
        kind: 'client-id',
        value: 'bad',
        untilMs: undefined,
        reason: 'r',
        by: 'b',
      } as const;
      await start({ users: [await userNamed('alice')], bans: [ban] });
      const wrong = { password: Buffer.from('x') };
      expect(await connackOf(as('alice'))).toBe(0);
      expect(await connackOf(as('alice', wrong))).toBe(0x86);
      expect(await connackOf(as('bob'))).toBe(0x86);
      expect(await connackOf({ clientId: 'c' })).toBe(0x87);
      expect(await connackOf(as('alice', { clientId: 'bad' }))).toBe(0x8a);
      expect(await connackOf(as('alice', { version: 4 }))).toBe(0);
      expect(await connackOf(as('alice', { ...wrong, version: 4 }))).toBe(4);
      expect(await connackOf({ clientId: 'c', version: 4 })).toBe(5);
      expect(await connackOf(as('alice', { clientId: 'bad', version: 3 }))).toBe(5);
    });

    it('of somebody who is not let in takes nobody’s session over', async () => {
      await start({ users: [await userNamed('alice')] });
      const alice = await rig.connect(as('alice'));
      expect(await connackOf(as('alice', { password: Buffer.from('x') }))).toBe(0x86);
      expect(await connackOf({ clientId: 'alice' })).toBe(0x87);
      expect(await alice.untilPong()).toEqual([]);
      expect(rig.server.counters.takeovers).toBe(0);
    });

    it('that nobody can decide now is told to come back', async () => {
      const reason = 'away';
      const member = (busy: boolean): Authenticator => ({
        name: 'http',
        check: () => Promise.resolve({ kind: 'unavailable', busy, reason }),
      });
      await start({}, { chain: [member(false)] });
      expect(await connackOf(as('alice'))).toBe(0x88);
      expect(await connackOf(as('alice', { version: 4 }))).toBe(3);
      await rig[Symbol.asyncDispose]();
      await start({}, { chain: [member(true)] });
      expect(await connackOf(as('alice'))).toBe(0x89);
    });

    it('with a will that may not be published is refused 0x87', async () => {
      await start({ users: [await userNamed('alice')], rules: [rule('allow', ['publish'], 'ok')] });
      const will = { topic: 'no', payload: Buffer.from('x'), qos: 1, retain: false } as const;
      expect(await connackOf(as('alice', { will }))).toBe(0x87);
      expect(await connackOf(as('alice', { will, version: 4 }))).toBe(5);
      expect(await connackOf(as('alice', { will: { ...will, topic: 'ok' } }))).toBe(0);
    });

    it('after too many failures is not looked at', async () => {
      await start({ users: [await userNamed('alice')] });
      for (let at = 0; at < 3; at++) await connackOf(as('alice', { password: Buffer.from('x') }));
      expect(await connackOf(as('alice'))).toBe(0x8a);
    });

    it('of a client id that comes and goes is refused 0x8A', async () => {
      await start({}, { endsMax: 3 });
      for (let at = 0; at < 3; at++) {
        const client = await rig.connect({ clientId: 'c' });
        await client.disconnect();
        await until(() => rig.server.counters.connections === 0);
      }
      expect(await connackOf({ clientId: 'c' })).toBe(0x8a);
      expect(await connackOf({ clientId: 'd' })).toBe(0);
    });
  });

  describe('PUBLISH', () => {
    const rules = [
      rule('allow', both, 'ok/#'),
      rule('allow', ['subscribe'], '#', { who: { users: ['watcher'] } }),
      rule('allow', ['publish'], 'own/${clientid}'),
    ];
    const users = async (): Promise<AccessData['users']> => [
      await userNamed('alice'),
      await userNamed('watcher'),
    ];

    it('that is not allowed gets 0x87, is not delivered, and the client stays', async () => {
      await start({ users: await users(), rules });
      const watcher = await rig.connect(as('watcher'));
      await watcher.subscribe('#', { qos: 2 });
      const alice = await rig.connect(as('alice'));
      expect(await alice.publishAcked('no', 'x')).toBe(0x87);
      expect(await alice.publishAcked('own/alice', '1')).toBe(0);
      expect(await alice.publishAcked('own/watcher', 'x')).toBe(0x87);
      const id = alice.publish('no', 'x', { qos: 2 });
      expect(await alice.pick('pubrec', id)).toMatchObject({ reasonCode: 0x87 });
      alice.publish('no', 'x');
      expect(await alice.publishAcked('ok/1', '2')).toBe(0);
      expect(await watcher.payloads(2)).toEqual(['1', '2']);
      expect(rig.server.counters.droppedUnauthorized).toBe(4);
    });

    it('of MQTT 3 is acknowledged and dropped, as Mosquitto does', async () => {
      await start({ users: await users(), rules });
      const watcher = await rig.connect(as('watcher'));
      await watcher.subscribe('#', { qos: 2 });
      const alice = await rig.connect(as('alice', { version: 4 }));
      expect(await alice.publishAcked('no', 'x')).toBe(0);
      const id = alice.publish('no', 'x', { qos: 2 });
      await alice.pick('pubrec', id);
      alice.send({ cmd: 'pubrel', messageId: id ?? 0 });
      await alice.pick('pubcomp', id);
      expect(await alice.publishAcked('ok/1', '1')).toBe(0);
      expect(await watcher.payloads(1)).toEqual(['1']);
      expect(rig.server.counters.droppedUnauthorized).toBe(2);
    });

    it('of MQTT 3 ends the connection, if it is configured so', async () => {
      await start({ users: await users(), rules }, {}, { refusedPublish: 'close' });
      const alice = await rig.connect(as('alice', { version: 4 }));
      alice.publish('no', 'x', { qos: 1 });
      await alice.closed;
      expect(rig.server.counters.droppedUnauthorized).toBe(1);
    });

    it('by a topic alias is decided by the topic that it stands for', async () => {
      await start({ users: await users(), rules });
      const alice = await rig.connect(as('alice'));
      const topicAlias = 1;
      expect(await alice.publishAcked('no', 'x', { properties: { topicAlias } })).toBe(0x87);
      expect(await alice.publishAcked('', 'x', { properties: { topicAlias } })).toBe(0x87);
      expect(await alice.publishAcked('ok/1', 'x', { properties: { topicAlias } })).toBe(0);
      expect(await alice.publishAcked('', 'x', { properties: { topicAlias } })).toBe(0);
    });

    it('of a durable session at QoS 2 is not stored', async () => {
      await start({ users: await users(), rules });
      const alice = await rig.connect(as('alice', { properties: keep }));
      const id = alice.publish('no', 'x', { qos: 2 });
      expect(await alice.pick('pubrec', id)).toMatchObject({ reasonCode: 0x87 });
      expect(rig.sessions.session('alice').inbound.size).toBe(0);
    });

    it('is decided by QoS and retain, also of the topic that was published last', async () => {
      const own = [rule('allow', ['publish'], 't', { qos: [0, 1], retain: false })];
      await start({ users: await users(), rules: own });
      const alice = await rig.connect(as('alice'));
      expect(await alice.publishAcked('t', 'x')).toBe(0);
      expect(await alice.publishAcked('t', 'x', { retain: true })).toBe(0x87);
      const id = alice.publish('t', 'x', { qos: 2 });
      expect(await alice.pick('pubrec', id)).toMatchObject({ reasonCode: 0x87 });
      expect(await alice.publishAcked('t', 'x')).toBe(0);
    });

    it('follows the rules as they are', async () => {
      await start({ users: await users(), rules });
      const alice = await rig.connect(as('alice'));
      expect(await alice.publishAcked('ok/1', 'x')).toBe(0);
      store.replace({ rules: [...rules, rule('deny', ['publish'], 'ok/1')] });
      expect(await alice.publishAcked('ok/1', 'x')).toBe(0x87);
      store.replace({ rules });
      expect(await alice.publishAcked('ok/1', 'x')).toBe(0);
    });
  });

  describe('SUBSCRIBE', () => {
    const rules = [
      rule('allow', both, 'ok/#'),
      rule('allow', both, '#', { who: { users: ['bob'] } }),
      rule('deny', ['subscribe'], 'ok/secret/#', { who: { users: ['alice'] } }),
    ];
    const users = async (): Promise<AccessData['users']> => [
      await userNamed('alice'),
      await userNamed('bob'),
    ];

    it('gets 0x87, or 0x80 in MQTT 3, for each filter that is not covered', async () => {
      await start({ users: await users(), rules });
      const alice = await rig.connect(as('alice'));
      expect(await alice.subscribe('#')).toBe(0x87);
      expect(await alice.subscribe('ok/+', { qos: 1 })).toBe(1);
      expect(await alice.subscribe('ok/secret/x')).toBe(0x87);
      const old = await rig.connect(as('alice', { clientId: 'old', version: 4 }));
      expect(await old.subscribe('#')).toBe(0x80);
      const subscriptions = ['no', 'ok/1'].map((topic) => ({
        topic,
        qos: 0 as const,
        nl: false,
        rap: false,
        rh: 0,
      }));
      alice.send({ cmd: 'subscribe', messageId: 77, subscriptions });
      expect((await alice.pick('suback', 77)).granted.map(Number)).toEqual([0x87, 0]);
      expect(rig.server.counters.subscriptionsUnauthorized).toBe(4);
    });

    it('what a deny forbids is not shown through a filter that overlaps it, live or retained', async () => {
      await start({ users: await users(), rules });
      const bob = await rig.connect(as('bob'));
      await bob.publishAcked('ok/secret/r', 'no', { retain: true });
      await bob.publishAcked('ok/r', '1', { retain: true });
      const alice = await rig.connect(as('alice'));
      expect(await alice.subscribe('ok/#', { qos: 1 })).toBe(1);
      expect(await alice.payloads(1)).toEqual(['1']);
      await bob.publishAcked('ok/secret/x', 'no');
      await bob.publishAcked('ok/x', '2');
      expect(await alice.payloads(1)).toEqual(['2']);
      // Who may see it does.
      await bob.subscribe('ok/secret/#', { qos: 1, rh: 2 });
      await bob.publishAcked('ok/secret/x', '3');
      expect(await bob.payloads(1)).toEqual(['3']);
    });

    it('what rules do not cover any more is muted, and comes again once they do', async () => {
      await start({ users: await users(), rules });
      const bob = await rig.connect(as('bob'));
      const alice = await rig.connect(as('alice'));
      await alice.subscribe('ok/#', { qos: 1 });
      await bob.publishAcked('ok/1', '1');
      expect(await alice.payloads(1)).toEqual(['1']);
      const fewer = rules.filter(({ who, effect }) => who.users !== undefined || effect === 'deny');
      store.replace({ rules: [...fewer, rule('allow', both, 'ok/2')] });
      // Some turns later everybody has been looked at.
      await bob.untilPong();
      expect([...rig.server.sessions()].map((one) => one.mutedSubscriptions)).toEqual([0, 1]);
      await bob.publishAcked('ok/1', 'no');
      await bob.publishAcked('ok/2', '2');
      expect(await alice.payloads(1)).toEqual(['2']);
      store.replace({ rules });
      await bob.untilPong();
      await bob.publishAcked('ok/1', '3');
      expect(await alice.payloads(1)).toEqual(['3']);
    });

    it('a durable session gets only what the rules allow when it comes back', async () => {
      await start({ users: await users(), rules });
      const bob = await rig.connect(as('bob'));
      const alice = await rig.connect(as('alice', { clean: false, properties: keep }));
      await alice.subscribe('ok/+', { qos: 1 });
      await alice.disconnect();
      await until(() => !rig.sessions.session('alice').isConnected);
      store.replace({
        rules: [...rules, rule('deny', ['subscribe'], 'ok/1', { who: { users: ['alice'] } })],
      });
      for (const name of ['ok/1', 'ok/2', 'ok/1', 'ok/3']) await bob.publishAcked(name, name);
      const back = await rig.connect(as('alice', { clean: false, properties: keep }));
      expect(await back.payloads(2)).toEqual(['ok/2', 'ok/3']);
      // A deny that only overlaps it does not mute it.
      expect([...rig.server.sessions()].map((one) => one.mutedSubscriptions)).toEqual([0, 0]);
      await bob.publishAcked('ok/1', 'no');
      await bob.publishAcked('ok/4', 'ok/4');
      expect(await back.payloads(1)).toEqual(['ok/4']);
    });

    it('a message that was under way is not sent again to who may not see it any more', async () => {
      await start({ users: await users(), rules });
      const bob = await rig.connect(as('bob'));
      const alice = await rig.connect(as('alice', { clean: false, properties: keep }));
      alice.answers = 'none';
      await alice.subscribe('ok/+', { qos: 1 });
      await bob.publishAcked('ok/1', '1');
      await bob.publishAcked('ok/2', '2');
      expect(await alice.payloads(2)).toEqual(['1', '2']);
      await alice.destroy();
      await until(() => !rig.sessions.session('alice').isConnected);
      store.replace({
        rules: [...rules, rule('deny', ['subscribe'], 'ok/1', { who: { users: ['alice'] } })],
      });
      const back = await rig.connect(as('alice', { clean: false, properties: keep }));
      expect(await back.payloads(1)).toEqual(['2']);
    });
  });

  describe('a connected client', () => {
    it('goes when its user is deleted (0x87) or a ban fits it (0x98), others stay', async () => {
      const users = [await userNamed('alice'), await userNamed('bob'), await userNamed('carol')];
      await start({ users });
      const alice = await rig.connect(as('alice'));
      const bob = await rig.connect(as('bob'));
      const carol = await rig.connect(as('carol', { version: 4 }));
      store.replace({ users: users.slice(1) });
      expect(await alice.expect('disconnect')).toMatchObject({ reasonCode: 0x87 });
      await alice.closed;
      const ban = { untilMs: undefined, reason: 'noise', by: 'operator' };
      store.replace({ bans: [{ kind: 'user', value: 'bob', ...ban }] });
      expect(await bob.expect('disconnect')).toMatchObject({ reasonCode: 0x98 });
      expect(await carol.untilPong()).toEqual([]);
      store.replace({ bans: [{ kind: 'address', value: '127.0.0.0/8', ...ban }] });
      await carol.closed;
      expect(rig.server.counters.revoked).toBe(3);
    });

    it('its will is published then', async () => {
      const users = [await userNamed('alice')];
      await start({ users, settings: { anonymous: 'deny', fallback: 'allow', clientIds: 'any' } });
      const will = { topic: 'gone', payload: Buffer.from('x'), qos: 1, retain: false } as const;
      await rig.connect(as('alice', { will }));
      store.replace({ users: [await userNamed('bob')] });
      await until(() => rig.sessions.wills.length === 1);
    });

    it('goes when its credentials expire, also when the wall clock jumps', async () => {
      const clock = new VirtualClock(1_700_000_000_000);
      const expiresAtMs = 1_700_000_300_000;
      const member: Authenticator = {
        name: 'token',
        check: ({ userName = '' }) =>
          Promise.resolve({
            kind: 'allow',
            identity: {
              userName,
              groups: [],
              superuser: true,
              rules: [],
              whitelist: false,
              credentialsId: undefined,
              expiresAtMs: userName === 'short' ? expiresAtMs : undefined,
            },
          }),
      };
      await start({}, { clock, chain: [member] });
      const short = await rig.connect(as('short'));
      const other = await rig.connect(as('long'));
      await clock.advance(200_000);
      expect(await short.untilPong()).toEqual([]);
      clock.jumpWall(100_000);
      await clock.advance(60_000);
      expect(await short.expect('disconnect')).toMatchObject({ reasonCode: 0x87 });
      expect(await other.untilPong()).toEqual([]);
    });

    it('of a thousand all are looked at', async () => {
      const users = [await userNamed('alice')];
      await start({ users });
      const clients = await Promise.all(
        Array.from({ length: 1_000 }, (_, at) => rig.connect(as('alice', { clientId: `c${at}` }))),
      );
      store.replace({ users: [await userNamed('bob')] });
      await Promise.all(clients.map(({ closed }) => closed));
      expect(rig.server.counters.revoked).toBe(1_000);
    });
  });
});
