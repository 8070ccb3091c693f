import {
  brokerAdminMethods,
  type ConnectedClient,
  type ConnectedSubscription,
  inProcessTransport,
  type ListedRetained,
  type ListSubscriptionsResponse,
  type RpcClient,
} from '@robustmq/rpc';
import { describe, expect, it } from 'vitest';

import { MqttRig, plainListener } from '../server/mqtt-rig.fixture.ts';
import { until } from '../server/until.fixture.ts';
import { registerBrokerAdmin } from './broker-admin.ts';

const everyone = { clientId: '', clientIdPattern: '', user: '', address: '' };

/** An MQTT server with the service for operators, and an operator's connection to it. */
class AdminRig implements AsyncDisposable {
  readonly mqtt: MqttRig;
  readonly operator: RpcClient;
  readonly #stack: AsyncDisposableStack;

  private constructor(mqtt: MqttRig, operator: RpcClient, stack: AsyncDisposableStack) {
    this.mqtt = mqtt;
    this.operator = operator;
    this.#stack = stack;
  }

  static async start(): Promise<AdminRig> {
    const stack = new AsyncDisposableStack();
    const mqtt = stack.use(
      await MqttRig.start({ listeners: [{ ...plainListener, name: 'door' }] }),
    );
    const transport = inProcessTransport();
    const register = transport.listen('broker:1', (registry) =>
      registerBrokerAdmin(registry, () => mqtt.server),
    );
    stack.use(await register);
    return new AdminRig(mqtt, stack.use(transport.connect('broker:1', 'control')), stack);
  }

  /** All pages of so many rows; and how many pages there were. */
  async clients(
    filter: Partial<typeof everyone> = {},
    limit = 1_000,
  ): Promise<{ clients: ConnectedClient[]; pages: number }> {
    const clients: ConnectedClient[] = [];
    let pages = 0;
    for (let after = 0; ; pages++) {
      const request = { filter: { ...everyone, ...filter }, after, limit };
      const page = await this.operator.call(brokerAdminMethods.listClients, request);
      clients.push(...page.clients);
      if (page.next === 0) return { clients, pages: pages + 1 };
      after = page.next;
    }
  }

  subscriptionPage(
    limit: number,
    after?: ListSubscriptionsResponse['next'],
    fields: { clientId?: string; topicFilter?: string } = {},
  ): Promise<ListSubscriptionsResponse> {
    const { clientId = '', topicFilter = '' } = fields;
    const filter = { ...everyone, clientId };
    return this.operator.call(brokerAdminMethods.listSubscriptions, {
      filter,
      topicFilter,
      after,
      limit,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

function names(clients: readonly ConnectedClient[]): string[] {
  return clients.map(({ clientId }) => clientId);
}

function rows(subscriptions: readonly ConnectedSubscription[]): string[] {
  return subscriptions.map(({ clientId, topicFilter }) => `${clientId} ${topicFilter}`);
}

describe('the list of clients', () => {
  it('says of each where it comes from, what was agreed on and how far it is', async () => {
    await using rig = await AdminRig.start();
    const client = await rig.mqtt.connect({
      clientId: 'c',
      username: 'u',
      keepalive: 30,
      properties: { sessionExpiryInterval: 100, receiveMaximum: 2 },
    });
    client.answers = 'none';
    await client.subscribe('t', { qos: 1 });
    const publisher = await rig.mqtt.connect({ clientId: 'p', version: 4 });
    for (const at of [1, 2, 3, 4, 5]) await publisher.publishAcked('t', `${at}`);
    await client.payloads(2);
    const told = async (): Promise<ConnectedClient | undefined> =>
      (await rig.clients({ clientId: 'c' })).clients[0];
    await expect.poll(async () => (await told())?.lagRecords).toBe(3);
    const found = await told();
    expect(found).toMatchObject({
      clientId: 'c',
      user: 'u',
      address: '127.0.0.1',
      listener: 'door',
      protocolVersion: 5,
      keepAliveSeconds: 30,
      sessionExpirySeconds: 100,
      subscriptions: 1,
      inFlight: 2,
      certificateCommonName: '',
    });
    expect(found?.port).toBeGreaterThan(0);
    expect(found?.receivedBytes).toBeGreaterThan(20);
    expect(found?.sentBytes).toBeGreaterThan(20);
    expect(found?.connectedSinceMs).toBeGreaterThan(0);
  });

  it('comes page by page, in the order of connecting, and shows nobody twice', async () => {
    await using rig = await AdminRig.start();
    const ids = Array.from({ length: 7 }, (_, at) => `c${6 - at}`);
    for (const clientId of ids) await rig.mqtt.connect({ clientId });
    const { clients, pages } = await rig.clients({}, 3);
    expect(names(clients)).toEqual(ids);
    expect(pages).toBe(3);
    // One that is there without a session is not a client yet.
    await rig.mqtt.open();
    expect(names((await rig.clients()).clients)).toEqual(ids);
  });

  it('is narrowed by client id, user and address', async () => {
    await using rig = await AdminRig.start();
    await rig.mqtt.connect({ clientId: 'sensor-1', username: 'a' });
    await rig.mqtt.connect({ clientId: 'sensor-2', username: 'b' });
    await rig.mqtt.connect({ clientId: 'pump-1', username: 'a' });
    const found = async (filter: Partial<typeof everyone>): Promise<string[]> =>
      names((await rig.clients(filter)).clients);
    expect(await found({ clientIdPattern: 'sensor-*' })).toEqual(['sensor-1', 'sensor-2']);
    expect(await found({ user: 'a' })).toEqual(['sensor-1', 'pump-1']);
    expect(await found({ clientId: 'sensor-*' })).toEqual([]);
    expect(await found({ user: 'a', clientIdPattern: '*-1', address: '127.0.0.0/8' })).toHaveLength(
      2,
    );
    expect(await found({ address: '127.0.0.2' })).toEqual([]);
    await expect(found({ address: 'here' })).rejects.toThrow('neither an IP address nor a network');
    await expect(rig.clients({}, 0)).rejects.toThrow('a page has 1 to 1000 rows');
  });
});

describe('a client that is kicked', () => {
  it('is told 0x98; its will fires and its session stays', async () => {
    await using rig = await AdminRig.start();
    const client = await rig.mqtt.connect({
      clientId: 'c',
      properties: { sessionExpiryInterval: 100 },
      will: { topic: 'gone', payload: Buffer.from('x'), qos: 0, retain: false },
    });
    const kick = (clientId: string): Promise<{ kicked: boolean }> =>
      rig.operator.call(brokerAdminMethods.kickClient, { clientId });
    expect(await kick('c')).toEqual({ kicked: true });
    expect(await client.expect('disconnect')).toMatchObject({ reasonCode: 0x98 });
    await client.closed;
    await until(() => rig.mqtt.sessions.wills.length === 1);
    expect(rig.mqtt.sessions.session('c').isConnected).toBe(false);
    expect(await kick('c')).toEqual({ kicked: false });
  });

  it('of MQTT 3 is only disconnected', async () => {
    await using rig = await AdminRig.start();
    const client = await rig.mqtt.connect({ clientId: 'c', version: 4 });
    await rig.operator.call(brokerAdminMethods.kickClient, { clientId: 'c' });
    await client.closed;
  });
});

describe('the list of subscriptions', () => {
  it('says of each what was asked for', async () => {
    await using rig = await AdminRig.start();
    const client = await rig.mqtt.connect({ clientId: 'c' });
    await client.subscribe('a/+', { qos: 2, nl: true, rap: true, rh: 1, id: 7 });
    expect((await rig.subscriptionPage(10)).subscriptions).toEqual([
      {
        clientId: 'c',
        topicFilter: 'a/+',
        qos: 2,
        noLocal: true,
        retainAsPublished: true,
        retainHandling: 1,
        subscriptionId: 7,
        partitions: 4,
      },
    ]);
  });

  it('comes page by page, whatever their size, and shows none twice', async () => {
    await using rig = await AdminRig.start();
    const expected: string[] = [];
    for (const clientId of ['b', 'none', 'a']) {
      const client = await rig.mqtt.connect({ clientId });
      if (clientId === 'none') continue;
      for (const filter of ['z', 'x/#', 'y']) await client.subscribe(filter);
      expected.push(...['x/#', 'y', 'z'].map((filter) => `${clientId} ${filter}`));
    }
    for (const limit of [1, 2, 3, 4, 6, 7]) {
      const found: string[] = [];
      let after: ListSubscriptionsResponse['next'];
      do {
        const page = await rig.subscriptionPage(limit, after);
        expect(page.subscriptions.length).toBeLessThanOrEqual(limit);
        found.push(...rows(page.subscriptions));
        after = page.next;
      } while (after !== undefined);
      expect(found).toEqual(expected);
    }
  });

  it('goes on with the next client when the one it was at has gone', async () => {
    await using rig = await AdminRig.start();
    const first = await rig.mqtt.connect({ clientId: 'first' });
    const second = await rig.mqtt.connect({ clientId: 'second' });
    for (const filter of ['m', 'n']) await first.subscribe(filter);
    for (const filter of ['a', 'z']) await second.subscribe(filter);
    const { next } = await rig.subscriptionPage(1);
    await first.disconnect();
    await until(() => rig.mqtt.server.counters.connections === 1);
    expect(rows((await rig.subscriptionPage(10, next)).subscriptions)).toEqual([
      'second a',
      'second z',
    ]);
  });

  it('is narrowed by client id and filter', async () => {
    await using rig = await AdminRig.start();
    for (const clientId of ['a', 'b']) {
      const client = await rig.mqtt.connect({ clientId });
      for (const filter of ['factory/#', 'home/+']) await client.subscribe(filter);
    }
    const found = async (fields: { clientId?: string; topicFilter?: string }): Promise<string[]> =>
      rows((await rig.subscriptionPage(10, undefined, fields)).subscriptions);
    expect(await found({ topicFilter: 'home/*' })).toEqual(['a home/+', 'b home/+']);
    expect(await found({ clientId: 'b', topicFilter: '*#' })).toEqual(['b factory/#']);
  });
});

it('a broker without MQTT has no clients', async () => {
  const transport = inProcessTransport();
  await using _server = await transport.listen('broker:1', (registry) =>
    registerBrokerAdmin(registry, () => undefined),
  );
  await using operator = transport.connect('broker:1', 'control');
  const request = { filter: undefined, after: 0, limit: 10 };
  expect(await operator.call(brokerAdminMethods.listClients, request)).toEqual({
    clients: [],
    next: 0,
  });
  expect(await operator.call(brokerAdminMethods.kickClient, { clientId: 'c' })).toEqual({
    kicked: false,
  });
});

describe('retained messages for operators', () => {
  const row = { payloadStart: Buffer.from('v'), payloadBytes: 1, qos: 1 };

  it('are listed by filter, with what is known of them, and cleared', async () => {
    await using admin = await AdminRig.start();
    const { mqtt, operator } = admin;
    const client = await mqtt.connect({ clientId: 'c' });
    for (const name of ['a/1', 'a/2', 'b']) {
      await client.publishAcked(name, 'v', {
        retain: true,
        properties: { messageExpiryInterval: 60 },
      });
    }
    await client.publishAcked('a/3', 'x'.repeat(1000), { retain: true });
    const list = async (topicFilter: string): Promise<ListedRetained[]> => {
      const request = { topicFilter, from: undefined, limit: 1_000 };
      const { messages } = await operator.call(brokerAdminMethods.listRetained, request);
      return messages.toSorted((a, b) => (a.topic < b.topic ? -1 : 1));
    };
    const listed = await list('a/+');
    expect(listed).toMatchObject([
      { topic: 'a/1', ...row },
      { topic: 'a/2', ...row },
      { topic: 'a/3', payloadBytes: 1000, payloadStart: Buffer.from('x'.repeat(256)) },
    ]);
    const [first, , last] = listed;
    expect(first?.expiresAtMs).toBe((first?.appendTimeMs ?? 0) + 60_000);
    expect(last?.expiresAtMs).toBeUndefined();
    await client.subscribe('a/1');
    await client.payloads(1);
    const request = { topicFilter: 'a/#', from: undefined };
    expect(await operator.call(brokerAdminMethods.clearRetained, request)).toEqual({
      cleared: 3,
      next: undefined,
    });
    expect((await list('#')).map(({ topic }) => topic)).toEqual(['b']);
    // Who is subscribed hears of it, as of any empty retained publish.
    expect(await client.payloads(1)).toEqual(['']);
  });

  it.each(['', 'a/#/b', 'a+', '$share/g/a'])('%j is no filter', async (topicFilter) => {
    await using admin = await AdminRig.start();
    const call = admin.operator.call(brokerAdminMethods.listRetained, {
      topicFilter,
      from: undefined,
      limit: 10,
    });
    await expect(call).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    const clear = { topicFilter, from: undefined };
    await expect(
      admin.operator.call(brokerAdminMethods.clearRetained, clear),
    ).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});
