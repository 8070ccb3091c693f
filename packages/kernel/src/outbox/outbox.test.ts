import { OperatingError } from '@robustmq/core';
import { RecordCursor } from '@robustmq/record-batch';
import { type CounterBroker, CounterCluster, counterShard, turns } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';

const target = 99;

async function takeOver(cluster: CounterCluster): Promise<CounterBroker> {
  const broker = cluster.broker();
  const entry = { $case: 'shard' as const, value: cluster.shard() };
  cluster.tell(broker, { entry });
  cluster.assign(broker, [broker]);
  for (let i = 0; i < 100 && broker.phase !== 'serving'; i++) await cluster.clock.advance(20);
  return broker;
}

function send(broker: CounterBroker, id: string, to = target): Promise<string> {
  return broker.command({ op: 'send', target: to, text: id, id });
}

function texts(cluster: CounterCluster, shard = target): string[] {
  const values: string[] = [];
  const cursor = new RecordCursor();
  for (const { batch } of cluster.logs.log(shard).batches) {
    cursor.reset(batch);
    while (cursor.next())
      values.push(cursor.buffer.toString('utf8', cursor.valueStart, cursor.valueEnd));
  }
  return values;
}

const ids = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}-${i}`);

describe('an outbox', () => {
  it('appends nothing elsewhere before it is committed in its own log', async () => {
    const cluster = new CounterCluster();
    const broker = await takeOver(cluster);
    await cluster.clock.advance(10);
    const held: (() => void)[] = [];
    const { client } = broker;
    const append = client.appendBatch.bind(client);
    client.appendBatch = (batch) =>
      batch.shardId === counterShard
        ? new Promise((resolve) => held.push(() => resolve(append(batch))))
        : append(batch);
    const sent = send(broker, 'a');
    await turns(20);
    // Another commit, of something that came before, must not let it go either.
    expect(held).toHaveLength(1);
    const second = send(broker, 'b');
    await turns(20);
    expect(held).toHaveLength(2);
    expect(texts(cluster)).toEqual([]);
    held[0]?.();
    await turns(20);
    expect(texts(cluster)).toEqual(['a']);
    held[1]?.();
    expect(await cluster.settle(Promise.all([sent, second]))).toEqual(['committed', 'committed']);
    expect(texts(cluster)).toEqual(['a', 'b']);
  });

  it('makes one batch of what one turn sends to a target, and has five under way', async () => {
    const cluster = new CounterCluster();
    const broker = await takeOver(cluster);
    const { client } = broker;
    const append = client.appendBatch.bind(client);
    const held: (() => void)[] = [];
    client.appendBatch = (batch) =>
      batch.shardId === target
        ? new Promise((resolve) => held.push(() => resolve(append(batch))))
        : append(batch);
    const answers: Promise<string>[] = [];
    for (let i = 0; i < 8; i++) {
      answers.push(...ids(`t${i}`, 10).map((id) => send(broker, id)));
      await turns(10);
    }
    expect(held).toHaveLength(5);
    for (let i = 0; i < 8; i++) {
      held[i]?.();
      await turns(10);
    }
    await cluster.settle(Promise.all(answers));
    expect(cluster.logs.log(target).batches).toHaveLength(8);
    expect(texts(cluster)).toEqual(ids('t', 8).flatMap((_, i) => ids(`t${i}`, 10)));
  });

  it('tries again what the target cannot take now, in order', async () => {
    const cluster = new CounterCluster();
    const broker = await takeOver(cluster);
    const log = cluster.logs.log(target);
    log.refusal = new OperatingError('INTERNAL', 'not now');
    const answers = [];
    for (const id of ids('x', 4)) {
      answers.push(send(broker, id));
      await turns(10);
    }
    await cluster.clock.advance(300);
    expect(texts(cluster)).toEqual([]);
    log.refusal = undefined;
    await cluster.settle(Promise.all(answers));
    expect(texts(cluster)).toEqual(ids('x', 4));
    expect(broker.machine?.sending.size).toBe(4);
    await cluster.clock.advance(2000);
    expect(broker.machine?.sending.size).toBe(0);
  });

  it('keeps what is not confirmed in a snapshot, byte for byte', async () => {
    const cluster = new CounterCluster();
    const broker = await takeOver(cluster);
    await cluster.settle(send(broker, 'first'));
    const log = cluster.logs.log(target);
    log.refusal = new OperatingError('INTERNAL', 'not now');
    for (const id of ids('x', 9)) {
      send(broker, id).catch(() => {});
      await turns(3);
    }
    broker.machine?.context.requestSnapshot();
    for (let i = 0; i < 10; i++) await cluster.clock.advance(10);
    expect(broker.trims).toHaveLength(1);
    const next = await takeOver(cluster);
    expect(next.machine?.context.outbox.bytes).toBe(broker.machine?.context.outbox.bytes);
    log.refusal = undefined;
    await cluster.settle(Promise.all(ids('x', 9).map((id) => send(next, id))));
    expect(texts(cluster)).toEqual(['first', ...ids('x', 9)]);
  });

  it('goes on after what the target refuses for good, without a gap and without a repeat', async () => {
    const cluster = new CounterCluster();
    const broker = await takeOver(cluster);
    const log = cluster.logs.log(target);
    const append = log.append.bind(log);
    await cluster.settle(send(broker, 'before'));
    log.append = (batch) => {
      if (batch.batch.includes('bad')) throw new OperatingError('BATCH_TOO_LARGE', 'too large');
      return append(batch);
    };
    const answers = [];
    for (const id of ['good-1', 'bad-1', 'good-2', 'bad-2', 'good-3']) {
      answers.push(send(broker, id));
      await turns(1);
    }
    expect(await cluster.settle(Promise.all(answers))).toEqual([
      'committed',
      'refused',
      'committed',
      'refused',
      'committed',
    ]);
    expect(texts(cluster)).toEqual(['before', 'good-1', 'good-2', 'good-3']);
    const next = await takeOver(cluster);
    await cluster.settle(send(next, 'after'));
    await cluster.clock.advance(3000);
    expect(texts(cluster)).toEqual(['before', 'good-1', 'good-2', 'good-3', 'after']);
    expect(next.machine?.sending.size).toBe(0);
  });

  it('of a former owner adds nothing after a successor has numbered anew', async () => {
    const cluster = new CounterCluster();
    const zombie = await takeOver(cluster);
    await cluster.settle(send(zombie, 'before'));
    const { client } = zombie;
    const append = client.appendBatch.bind(client);
    const held: (() => void)[] = [];
    client.appendBatch = (batch) =>
      batch.shardId === target
        ? new Promise((resolve, reject) =>
            held.push(() => void append(batch).then(resolve, reject)),
          )
        : append(batch);
    for (const id of ['bad', 'good-1', 'good-2']) {
      send(zombie, id).catch(() => {});
      await turns(10);
    }
    expect(held).toHaveLength(3);
    const log = cluster.logs.log(target);
    const appendToTarget = log.append.bind(log);
    log.append = (batch) => {
      if (batch.batch.includes('bad')) throw new OperatingError('NOT_AUTHORIZED', 'refused');
      return appendToTarget(batch);
    };
    const next = await takeOver(cluster);
    await cluster.clock.advance(500);
    expect(texts(cluster)).toEqual(['before', 'good-1', 'good-2']);
    for (const release of held) release();
    await cluster.clock.advance(500);
    expect(texts(cluster)).toEqual(['before', 'good-1', 'good-2']);
    expect(await cluster.settle(send(next, 'good-2'))).toBe('committed');
    expect(texts(cluster)).toEqual(['before', 'good-1', 'good-2']);
  });

  it('forgets a target that is gone', async () => {
    const cluster = new CounterCluster();
    const broker = await takeOver(cluster);
    const log = cluster.logs.log(target);
    log.refusal = new OperatingError('NOT_FOUND', 'deleted');
    const answers = ids('x', 3).map((id) => send(broker, id));
    expect(await cluster.settle(Promise.all(answers))).toEqual(['refused', 'refused', 'refused']);
    expect(broker.machine?.context.outbox.bytes).toBe(0);
    expect(await cluster.settle(send(broker, 'other', 98))).toBe('committed');
  });

  it('is full when a target does not take its records, and says so', async () => {
    const cluster = new CounterCluster();
    const broker = await takeOver(cluster);
    cluster.logs.log(target).refusal = new OperatingError('INTERNAL', 'not now');
    const text = 'x'.repeat(1024 * 1024);
    for (let i = 0; i < 9; i++) {
      broker.command({ op: 'send', target, text, id: `${i}` }).catch(() => {});
      await turns(10);
    }
    expect(broker.machine?.context.outbox.full).toBe(true);
    cluster.logs.log(target).refusal = undefined;
    for (let i = 0; i < 20; i++) await cluster.clock.advance(500);
    expect(broker.machine?.context.outbox.full).toBe(false);
    expect(broker.machine?.context.outbox.bytes).toBe(0);
  });
});
