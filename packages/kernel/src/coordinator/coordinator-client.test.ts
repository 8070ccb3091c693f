import { inProcessTransport, type RpcServer } from '@robustmq/rpc';
import {
  brokerNode,
  type CounterBroker,
  CounterCluster,
  type CounterCommand,
  turns,
} from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';
import { BrokerPeer } from './broker-peer.ts';
import { CoordinatorClient } from './coordinator-client.ts';
import { coordinatorIndex } from './coordinator-index.ts';

interface Member {
  readonly broker: CounterBroker;
  readonly client: CoordinatorClient;
  readonly server: RpcServer;
}

const kind = 'counters';

/** Brokers that reach each other over one transport and know each other. */
async function members(cluster: CounterCluster, count: number): Promise<Member[]> {
  const transport = inProcessTransport();
  const made: Member[] = [];
  for (let i = 0; i < count; i++) {
    const broker = cluster.broker();
    const peer = new BrokerPeer(broker.host);
    const server = await transport.listen('127.0.0.1:0', (registry) => peer.register(registry));
    const { host, catalog } = broker;
    const client = new CoordinatorClient({ host, catalog, peer, transport, clock: cluster.clock });
    made.push({ broker, client, server });
  }
  for (const { broker } of made) {
    for (const other of made) {
      cluster.tell(broker, brokerNode(other.broker.nodeId, { address: other.server.address }));
    }
    const topicId = Buffer.alloc(16);
    const value = { name: `$${kind}`, topicId, shardIds: [7], config: {} };
    cluster.tell(broker, { entry: { $case: 'topic', value } });
  }
  return made;
}

function encoded(command: CounterCommand): Buffer {
  return Buffer.from(JSON.stringify(command));
}

function add(client: CoordinatorClient, amount: number, id: string): Promise<string> {
  const command = encoded({ op: 'add', counter: 'a', amount, id });
  return client.call(kind, 'key', command).then(String);
}

function addOrdered(client: CoordinatorClient, id: string): Promise<string> {
  const command = encoded({ op: 'add', counter: 'a', amount: 2, id });
  return client.callOrdered(kind, 0, command).then(String);
}

describe('coordinatorIndex', () => {
  it("is murmur2 of the key's UTF-8, as Kafka's clients choose partitions", () => {
    expect(coordinatorIndex('foobar', 16)).toBe((-790332482 & 0x7fffffff) % 16);
  });
});

describe('calls to coordinators', () => {
  it('reach the owner from every broker', async () => {
    const cluster = new CounterCluster();
    const [a, b] = (await members(cluster, 2)) as [Member, Member];
    cluster.assign(a.broker);
    expect(await cluster.settle(add(a.client, 2, 'own'))).toBe('2');
    expect(await cluster.settle(add(b.client, 4, 'other'))).toBe('6');
  });

  it("reject with the machine's own error", async () => {
    const cluster = new CounterCluster();
    const [a, b] = (await members(cluster, 2)) as [Member, Member];
    cluster.assign(a.broker);
    for (const { client } of [a, b]) {
      const call = client.call(kind, 0, Buffer.from('{"op":"other"}')).catch((e: unknown) => e);
      expect(await cluster.settle(call)).toMatchObject({ code: 'INVALID_ARGUMENT' });
    }
  });

  it('wait for an owner, then go to it', async () => {
    const cluster = new CounterCluster();
    const [a, b] = (await members(cluster, 2)) as [Member, Member];
    const answers = [add(a.client, 2, '1'), add(b.client, 2, '2')];
    await cluster.clock.advance(500);
    cluster.assign(b.broker);
    expect((await cluster.settle(Promise.all(answers))).sort()).toEqual(['2', '4']);
  });

  it('end with UNAVAILABLE at their deadline', async () => {
    const cluster = new CounterCluster();
    const [a] = (await members(cluster, 1)) as [Member];
    const late = a.client.call(kind, 0, Buffer.from('{}'), { timeoutMs: 300 });
    const outcome = late.catch((error: unknown) => error);
    await cluster.clock.advance(280);
    let isSettled = false;
    void outcome.then(() => (isSettled = true));
    await turns(2);
    expect(isSettled).toBe(false);
    expect(await cluster.settle(outcome)).toMatchObject({ code: 'UNAVAILABLE' });
  });

  it('are made again when the owner dies, and are carried out once', async () => {
    const cluster = new CounterCluster();
    const [a, b, c] = (await members(cluster, 3)) as [Member, Member, Member];
    cluster.assign(a.broker);
    await cluster.settle(add(c.client, 2, 'first'));
    // The append is done, the answer is lost.
    const { client } = a.broker;
    const append = client.appendBatch.bind(client);
    client.appendBatch = async (batch) => {
      await append(batch);
      return await new Promise<never>(() => {});
    };
    const answers = Array.from({ length: 10 }, (_, i) => add(c.client, 2, `${i}`));
    await cluster.clock.advance(100);
    a.broker.kill();
    await a.server[Symbol.asyncDispose]();
    cluster.assign(b.broker);
    await cluster.settle(Promise.all(answers));
    expect(b.broker.machine?.counters.get('a')?.value).toBe(22);
  });

  it('are asked of the new owner when the old one hangs', async () => {
    const cluster = new CounterCluster();
    const [a, b, c] = (await members(cluster, 3)) as [Member, Member, Member];
    cluster.assign(a.broker);
    await cluster.settle(add(c.client, 2, 'first'));
    a.broker.client.appendBatch = () => new Promise(() => {});
    const answer = add(c.client, 2, 'second');
    await cluster.clock.advance(500);
    cluster.assign(b.broker, [b.broker, c.broker]);
    expect(await cluster.settle(answer)).toBe('4');
  });

  it('are carried out in order when they are ordered, whatever happens to owners', async () => {
    const cluster = new CounterCluster();
    const [a, b, c] = (await members(cluster, 3)) as [Member, Member, Member];
    const answers: Promise<string>[] = [];
    for (let i = 0; i < 60; i++) {
      if (i % 7 === 0) cluster.assign([a, b, c][(i / 7) % 3]?.broker);
      if (i % 20 === 15) await cluster.clock.advance(30);
      for (let j = 0; j < 3; j++) answers.push(addOrdered(c.client, `${i}-${j}`));
      await turns(i % 5);
    }
    await cluster.settle(Promise.all(answers));
    const owner = [a, b, c].find(({ broker }) => broker.phase === 'serving');
    const ids = owner?.broker.machine?.counters.get('a')?.ids ?? [];
    const once = ids.filter((_, at) => at % 2 === 0);
    expect(once).toEqual(Array.from({ length: 180 }, (_, i) => `${Math.floor(i / 3)}-${i % 3}`));
  });

  it('are refused when too many wait', async () => {
    const cluster = new CounterCluster();
    const [a] = (await members(cluster, 1)) as [Member];
    const big = Buffer.alloc(8 * 1024 * 1024);
    for (let i = 0; i < 4; i++) a.client.call(kind, 0, big).catch(() => {});
    await expect(a.client.call(kind, 0, big)).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    await a.client[Symbol.asyncDispose]();
    await expect(a.client.call(kind, 0, big)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });
});

describe('notices', () => {
  it('reach brokers that listen, from the newest epoch only', async () => {
    const cluster = new CounterCluster();
    const [a, b] = (await members(cluster, 2)) as [Member, Member];
    const heard: string[] = [];
    const owners: string[] = [];
    for (const [name, { client }] of Object.entries({ a, b })) {
      client.onNotice(kind, (index, payload, epoch) => {
        heard.push(`${name} ${index} ${String(payload)} ${epoch}`);
      });
      client.onOwner(kind, (index, owner) => owners.push(`${name} ${index} ${owner.nodeId}`));
    }
    cluster.assign(a.broker);
    await cluster.clock.advance(500);
    const first = a.broker.machine?.context;
    first?.notify('broker-1', Buffer.from('to itself'));
    first?.notify('broker-2', Buffer.from('to the other'));
    first?.notify('nobody', Buffer.from('to nobody'));
    await cluster.clock.advance(50);
    expect(heard).toEqual(['a 0 to itself 1', 'b 0 to the other 1']);
    cluster.assign(b.broker, [b.broker]);
    first?.notify('broker-2', Buffer.from('too late'));
    await cluster.clock.advance(50);
    expect(heard).toHaveLength(2);
    expect(owners).toEqual(['a 0 broker-1', 'b 0 broker-1', 'b 0 broker-2']);
  });

  it('leave after the commit of what they tell of', async () => {
    const cluster = new CounterCluster();
    const [a] = (await members(cluster, 1)) as [Member];
    const heard: string[] = [];
    a.client.onNotice(kind, (_, payload) => heard.push(String(payload)));
    cluster.assign(a.broker);
    await cluster.clock.advance(100);
    const held: (() => void)[] = [];
    const { client } = a.broker;
    const append = client.appendBatch.bind(client);
    client.appendBatch = (batch) =>
      new Promise((resolve) => held.push(() => resolve(append(batch))));
    add(a.client, 2, '1').catch(() => {});
    await turns(2);
    a.broker.machine?.context.notify('broker-1', Buffer.from('notice'));
    await turns(20);
    expect(heard).toEqual([]);
    held[0]?.();
    await turns(20);
    expect(heard).toEqual(['notice']);
  });
});
