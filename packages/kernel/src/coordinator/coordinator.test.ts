import { OperatingError } from '@robustmq/core';
import { RecordCursor } from '@robustmq/record-batch';
import { NodeState } from '@robustmq/rpc';
import {
  brokerNode,
  type CounterBroker,
  CounterCluster,
  type CounterCommand,
  CounterScript,
  counterShard,
  turns,
} from '@robustmq/testkit';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const targetShard = 99;
/** So small that a script makes several snapshots. */
const oftenSnapshots = { bytesMin: 600, recordsMax: 1_000_000 };
const never = { bytesMin: 1e12, recordsMax: 1e12 };

const add = (counter: string, amount: number, id: string): CounterCommand => ({
  op: 'add',
  counter,
  amount,
  id,
});

/** Adds to three counters and sends texts, 24 commands. */
const script: readonly CounterCommand[] = Array.from({ length: 24 }, (_, i) =>
  i % 4 === 3
    ? { op: 'send', target: targetShard, text: `text-${i}`, id: `send-${i}` }
    : add(`counter-${i % 3}`, i * 2, `add-${i}`),
);

/** What the counters are when each command of the script was carried out exactly once. */
function expectedCounters(): Record<string, number> {
  const sums: Record<string, number> = { sent: 6 };
  for (const command of script) {
    if (command.op === 'add') sums[command.counter] = (sums[command.counter] ?? 0) + command.amount;
  }
  return sums;
}

function counters(broker: CounterBroker): Record<string, number> {
  const entries = [...(broker.machine?.counters.entries() ?? [])];
  return Object.fromEntries(entries.map(([name, { value }]) => [name, value]));
}

/** The values of all records of a log, in order. */
function valuesOf(cluster: CounterCluster, shard: number): string[] {
  const values: string[] = [];
  const cursor = new RecordCursor();
  for (const { batch } of cluster.logs.log(shard).batches) {
    cursor.reset(batch);
    while (cursor.next())
      values.push(cursor.buffer.toString('utf8', cursor.valueStart, cursor.valueEnd));
  }
  return values;
}

/** Every command exactly once, every text exactly once and in the order of the log. */
function expectExactlyOnce(cluster: CounterCluster, broker: CounterBroker): void {
  expect(counters(broker)).toEqual(expectedCounters());
  const sent = broker.machine?.counters.get('sent')?.ids ?? [];
  expect(valuesOf(cluster, targetShard)).toEqual(sent.map((id) => id.replace('send', 'text')));
}

/** A new owner that restores everything from the log has the same state. */
async function expectRestorable(cluster: CounterCluster, broker: CounterBroker): Promise<void> {
  await cluster.clock.advance(3000); // Confirmations are written.
  const fingerprint = broker.machine?.fingerprint();
  const next = await takeOver(cluster);
  expect(next.machine?.fingerprint()).toBe(fingerprint);
  next.kill();
}

/** A new broker that owns the coordinator and serves. */
async function takeOver(
  cluster: CounterCluster,
  options?: Parameters<CounterCluster['broker']>[0],
): Promise<CounterBroker> {
  const broker = cluster.broker(options);
  const entry = { $case: 'shard' as const, value: cluster.shard() };
  cluster.tell(broker, { entry });
  cluster.assign(broker, [broker]);
  for (let i = 0; i < 100 && broker.phase !== 'serving'; i++) await cluster.clock.advance(20);
  expect(broker.phase).toBe('serving');
  return broker;
}

/** Kills a broker at its n-th step: before or after one of its appends arrives. */
function killAtStep(n: number | undefined): Parameters<CounterCluster['broker']>[0] {
  let steps = 0;
  return {
    snapshotPolicy: oftenSnapshots,
    step: (client) => {
      if (steps++ === n) client.kill();
    },
  };
}

/** Carries the script out while the i-th owner is killed at step `killSteps[i]`. Returns how many were. */
async function runKilling(killSteps: readonly number[]): Promise<number> {
  const cluster = new CounterCluster();
  const run = new CounterScript(cluster, (i) => cluster.broker(killAtStep(killSteps[i])));
  await run.carryOut(script, 5);
  await cluster.clock.advance(3000);
  const killed = cluster.brokers.filter((broker) => broker.client.isKilled).length;
  const owner = run.current.client.isKilled ? await takeOver(cluster) : run.current;
  expectExactlyOnce(cluster, owner);
  await expectRestorable(cluster, owner);
  return killed;
}

describe('a coordinator', () => {
  it('carries out commands, and its log alone restores it', async () => {
    const cluster = new CounterCluster();
    const broker = await takeOver(cluster, { snapshotPolicy: never });
    const answers = await cluster.settle(
      Promise.all([
        broker.command(add('a', 4, '1')),
        broker.command(add('a', 6, '2')),
        broker.command(add('b', 2, '3')),
        broker.command(add('a', 6, '2')),
        broker.command({ op: 'get', counter: 'a' }),
      ]),
    );
    expect(answers).toEqual(['4', '10', '2', '10', '10']);
    await expectRestorable(cluster, broker);
  });

  it('answers only after the commit, reads too', async () => {
    const cluster = new CounterCluster();
    const held: (() => void)[] = [];
    const broker = await takeOver(cluster);
    const log = cluster.logs.log(counterShard);
    const append = log.append.bind(log);
    broker.client.appendBatch = (batch) =>
      new Promise((resolve) => held.push(() => resolve(append(batch))));
    let answers = 0;
    const count = (): number => answers++;
    void broker.command(add('a', 2, '1')).then(count);
    void broker.command({ op: 'get', counter: 'a' }).then(count);
    await turns(20);
    expect(held).toHaveLength(1);
    expect(answers).toBe(0);
    held[0]?.();
    await turns(5);
    expect(answers).toBe(2);
  });

  it('writes what one event-loop turn proposes as one batch', async () => {
    const cluster = new CounterCluster();
    const broker = await takeOver(cluster, { snapshotPolicy: never });
    await cluster.clock.advance(10);
    const before = cluster.logs.log(counterShard).batches.length;
    const commands = Array.from({ length: 50 }, (_, i) => broker.command(add('a', 2, `${i}`)));
    await cluster.settle(Promise.all(commands));
    expect(cluster.logs.log(counterShard).batches.length - before).toBe(1);
  });

  it('keeps what one command proposes in one batch, also when batches are cut by size', async () => {
    const cluster = new CounterCluster();
    const broker = await takeOver(cluster, { snapshotPolicy: never });
    const name = 'x'.repeat(90 * 1024);
    const adds = Array.from({ length: 9 }, (_, i) =>
      broker.command(add(`${name}-${i}`, 2, `${i}`)),
    );
    await cluster.settle(Promise.all(adds));
    const batches = cluster.logs
      .log(counterShard)
      .batches.filter(({ batch }) => batch.length > 1e5);
    expect(batches.length).toBeGreaterThan(2);
    for (const { baseOffset, endOffset } of batches) expect((endOffset - baseOffset) % 2).toBe(0);
  });

  it('gives a large record a batch of its own', async () => {
    const cluster = new CounterCluster();
    const broker = await takeOver(cluster, { snapshotPolicy: never });
    const small = broker.command(add('x'.repeat(100 * 1024), 2, '1'));
    const text = 'x'.repeat(8_200_000);
    const large = broker.command({ op: 'send', target: targetShard, text, id: '2' });
    expect(await cluster.settle(Promise.all([small, large]))).toEqual(['2', 'committed']);
  });

  it('is served exactly once whatever append its owner dies around', async () => {
    for (let step = 0; ; step++) {
      const killed = await runKilling([step]);
      if (killed === 0) break; // The script has no such step any more.
      expect(step).toBeLessThan(500);
    }
  });

  it('is served exactly once when its next owners die, too, at any step', async () => {
    const step = fc.nat(40);
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 6 }), async (steps) => {
        await runKilling(steps);
      }),
      { numRuns: 40 },
    );
  });

  it('passes over a snapshot that was cut off at any record', async () => {
    for (let keep = 1; ; keep++) {
      const cluster = new CounterCluster();
      const first = await takeOver(cluster, { snapshotPolicy: never });
      const adds = Array.from({ length: 30 }, (_, i) => first.command(add(`c${i}`, 2, `${i}`)));
      await cluster.settle(Promise.all(adds));
      const before = cluster.logs.log(counterShard).batches.length;
      let appends = 0;
      const second = cluster.broker({
        snapshotPolicy: { bytesMin: 1, recordsMax: 1 },
        // The first two steps are its takeover record.
        step: (client, at) => {
          if (at === 'before-append' && appends++ === keep) client.kill();
        },
      });
      cluster.assign(second, [second]);
      await cluster.clock.advance(200);
      expect(cluster.logs.log(counterShard).batches.length).toBe(before + Math.min(keep, appends));
      const third = await takeOver(cluster, { snapshotPolicy: never });
      expect(third.machine?.fingerprint()).toBe(first.machine?.fingerprint());
      if (!second.client.isKilled) break;
    }
  });

  it('restores the same from a snapshot and what follows as from the whole log', async () => {
    const command = fc.record({ counter: fc.nat(5), amount: fc.nat(9), at: fc.nat(3) });
    await fc.assert(
      fc.asyncProperty(fc.array(command, { maxLength: 60 }), async (commands) => {
        const cluster = new CounterCluster();
        const log = cluster.logs.log(counterShard);
        const owner = await takeOver(cluster, { snapshotPolicy: { bytesMin: 300, recordsMax: 9 } });
        for (const [i, { counter, amount, at }] of commands.entries()) {
          void owner.command(add(`c${counter}`, amount * 2, `${i}`));
          await turns(at);
        }
        await cluster.clock.advance(50);
        const { trimOffset } = log;
        const trimmed = await takeOver(cluster, { snapshotPolicy: never });
        log.trimOffset = 0;
        const whole = await takeOver(cluster, { snapshotPolicy: never });
        expect(trimmed.machine?.fingerprint()).toBe(owner.machine?.fingerprint());
        expect(whole.machine?.fingerprint()).toBe(owner.machine?.fingerprint());
        if (commands.length > 20) expect(trimOffset).toBeGreaterThan(0);
      }),
      { numRuns: 25 },
    );
  });

  it('shows one moment in a snapshot, although records are applied while it is written', async () => {
    const cluster = new CounterCluster();
    const log = cluster.logs.log(counterShard);
    const owner = await takeOver(cluster, { snapshotPolicy: never });
    // 40 entities of 64 KiB: a chunk each, eight of them in a slice.
    const names = Array.from({ length: 40 }, (_, i) => `${i}`.padEnd(64 * 1024, 'x'));
    for (const [i, name] of names.entries()) {
      await cluster.settle(owner.command(add(name, 2, `first-${i}`)));
    }
    owner.machine?.context.requestSnapshot();
    await turns(1);
    let changes = 0;
    for (; owner.trims.length === 0; changes++) {
      const at = (changes * 7) % names.length;
      void owner.command(add(names[at] ?? '', 2, `change-${changes}`));
      void owner.command({ op: 'send', target: targetShard, text: 'x', id: `send-${changes}` });
      await turns(1);
    }
    await cluster.clock.advance(3000);
    expect(changes).toBeGreaterThan(5);
    expect(log.trimOffset).toBeGreaterThan(40);
    await expectRestorable(cluster, owner);
    // The chunks alone hold nothing of what came after the beginning.
    const chunks = valuesOf(cluster, counterShard).filter((value) => value.startsWith('\u0001'));
    expect(chunks.length).toBeGreaterThanOrEqual(names.length);
    expect(chunks.join('')).not.toContain('change-');
  });

  it('begins a snapshot between two batches', async () => {
    const cluster = new CounterCluster();
    const owner = await takeOver(cluster, { snapshotPolicy: never });
    owner.machine?.context.requestSnapshot();
    const sent = owner.command({ op: 'send', target: targetShard, text: 'x', id: '1' });
    await cluster.settle(sent);
    await cluster.clock.advance(50);
    expect(owner.trims).toHaveLength(1);
    await expectRestorable(cluster, owner);
    expect(valuesOf(cluster, targetShard)).toEqual(['x']);
  });

  it('reads on from placement when the catalog is old and what it shows is trimmed', async () => {
    const cluster = new CounterCluster();
    const first = await takeOver(cluster, { snapshotPolicy: { bytesMin: 200, recordsMax: 1e6 } });
    await cluster.settle(Promise.all([1, 2, 3, 4].map((i) => first.command(add('a', 2, `${i}`)))));
    await cluster.clock.advance(100);
    expect(first.trims.length).toBeGreaterThan(0);
    const second = cluster.broker();
    const entry = { $case: 'shard' as const, value: { ...cluster.shard(), trimOffset: 0 } };
    cluster.tell(second, { entry });
    cluster.assign(second, [second]);
    for (let i = 0; i < 10; i++) await cluster.clock.advance(20);
    expect(second.machine?.fingerprint()).toBe(first.machine?.fingerprint());
  });
});

describe('a fenced owner', () => {
  it('that goes on writing changes nothing and answers nothing', async () => {
    const cluster = new CounterCluster();
    const zombie = await takeOver(cluster);
    await cluster.settle(zombie.command(add('a', 2, 'before')));
    const next = await takeOver(cluster);
    const answers: unknown[] = [];
    for (let i = 0; i < 10; i++) {
      const answer = zombie.command(add('a', 100, `zombie-${i}`)).catch((error: unknown) => error);
      answers.push(await cluster.settle(answer));
      await cluster.settle(next.command(add('a', 2, `next-${i}`)));
    }
    for (const answer of answers) expect(answer).toMatchObject({ code: 'NOT_LEADER' });
    expect(zombie.phase).toBe('stopped');
    expect(zombie.machine?.stops).toBe(1);
    expect(counters(next)).toEqual({ a: 22 });
    await expectRestorable(cluster, next);
  });

  it('does not answer from memory: a read needs a proof that is at most 1 s old', async () => {
    const cluster = new CounterCluster();
    const zombie = await takeOver(cluster);
    await cluster.settle(zombie.command(add('a', 2, '1')));
    const next = await takeOver(cluster);
    await cluster.settle(next.command(add('a', 2, '2')));
    await cluster.clock.advance(1001);
    const read = zombie.command({ op: 'get', counter: 'a' }).catch((error: unknown) => error);
    expect(await cluster.settle(read)).toMatchObject({ code: 'NOT_LEADER' });
  });

  it('ends when the catalog shows another owner, and says who', async () => {
    const cluster = new CounterCluster();
    const first = await takeOver(cluster);
    const second = cluster.broker();
    cluster.assign(second);
    expect(first.phase).toBeUndefined();
    expect(first.machine?.stops).toBe(1);
    await expect(first.command(add('a', 2, '1'))).rejects.toMatchObject({
      code: 'NOT_LEADER',
      hint: { nodeId: second.nodeId },
    });
  });

  it('may own it again, and begins anew', async () => {
    const cluster = new CounterCluster();
    const first = await takeOver(cluster);
    await cluster.settle(first.command(add('a', 2, '1')));
    cluster.assign(undefined);
    cluster.assign(first);
    await cluster.clock.advance(50);
    expect(first.machines).toHaveLength(2);
    expect(await cluster.settle(first.command(add('a', 2, '2')))).toBe('4');
  });
});

describe('an owner', () => {
  it('holds commands that come during the takeover', async () => {
    const cluster = new CounterCluster();
    const broker = cluster.broker();
    cluster.assign(broker);
    expect(broker.phase).toBe('taking-over');
    expect(await cluster.settle(broker.command(add('a', 2, '1')))).toBe('2');
  });

  it('takes over once more when an append was refused', async () => {
    const cluster = new CounterCluster();
    const broker = await takeOver(cluster);
    const log = cluster.logs.log(counterShard);
    log.refusal = new OperatingError('INTERNAL', 'refused by the test');
    const refused = broker.command(add('a', 2, '1')).catch((error: unknown) => error);
    expect(await cluster.settle(refused)).toMatchObject({ code: 'NOT_LEADER' });
    log.refusal = undefined;
    await cluster.clock.advance(2000);
    expect(broker.phase).toBe('serving');
    expect(await cluster.settle(broker.command(add('a', 2, '1')))).toBe('2');
  });

  it('refuses what does not fit into a batch, and goes on', async () => {
    const cluster = new CounterCluster();
    const broker = await takeOver(cluster);
    const text = 'x'.repeat(9 * 1024 * 1024);
    const send: CounterCommand = { op: 'send', target: targetShard, text, id: 'big' };
    const refused = broker.command(send).catch((error: unknown) => error);
    expect(await cluster.settle(refused)).toMatchObject({ code: 'BATCH_TOO_LARGE' });
    expect(await cluster.settle(broker.command(add('a', 2, '1')))).toBe('2');
  });

  it('refuses commands while its log is behind', async () => {
    const cluster = new CounterCluster();
    const broker = await takeOver(cluster);
    broker.client.appendBatch = () => new Promise(() => {});
    const text = 'x'.repeat(3 * 1024 * 1024);
    for (let i = 0; i < 4; i++) {
      broker.command({ op: 'send', target: targetShard, text, id: `${i}` }).catch(() => {});
      await turns(3);
    }
    await expect(broker.command(add('a', 2, '1'))).rejects.toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      hint: { retryAfterMs: 50 },
    });
  });

  it('tells its machine of brokers that have gone', async () => {
    const cluster = new CounterCluster();
    const broker = await takeOver(cluster);
    cluster.tell(broker, brokerNode('x'), brokerNode('y'), brokerNode('z'));
    expect(broker.machine?.context.nodeAlive('x', 1)).toBe(true);
    cluster.tell(broker, brokerNode('x', { state: NodeState.DOWN }));
    cluster.tell(broker, brokerNode('y', { incarnation: 2 }));
    cluster.tell(broker, brokerNode('z', { state: NodeState.DRAINING }));
    expect(broker.machine?.gone).toEqual(['x/1', 'y/1']);
    cluster.tell(broker, brokerNode('unheard-of', { incarnation: 5, state: NodeState.DOWN }));
    cluster.tell(broker, brokerNode('y', { incarnation: 9 }));
    expect(broker.machine?.gone.slice(2)).toEqual(['unheard-of/5', 'y/8']);
    expect(broker.machine?.context.nodeAlive('not-shown-yet', 1)).toBe(true);
    expect(broker.machine?.context.nodeAlive('z', 2)).toBe(true);
    expect(broker.machine?.context.nodeAlive('x', 1)).toBe(false);
    expect(broker.machine?.context.nodeAlive('y', 9)).toBe(true);
    expect(broker.machine?.context.nodeAlive('y', 2)).toBe(false);
    expect(broker.machine?.context.nodeAlive('z', 1)).toBe(true);
  });

  it('ends its timers with the ownership', async () => {
    const cluster = new CounterCluster();
    const broker = await takeOver(cluster);
    let fired = 0;
    const context = broker.machine?.context;
    context?.timer(() => fired++).set(100);
    const other = context?.timer(() => fired++);
    other?.set(500);
    await cluster.clock.advance(200);
    expect(fired).toBe(1);
    cluster.assign(undefined);
    other?.set(10);
    await cluster.clock.advance(1000);
    expect(fired).toBe(1);
  });

  it('writes everything out, and a due snapshot, when it shuts down', async () => {
    const cluster = new CounterCluster();
    const broker = await takeOver(cluster, { snapshotPolicy: { bytesMin: 200, recordsMax: 1e9 } });
    const answer = broker.command(add('a', 2, '1'));
    const closed = broker.host[Symbol.asyncDispose]();
    await expect(broker.command(add('a', 2, '2'))).rejects.toMatchObject({ code: 'NOT_LEADER' });
    await cluster.settle(closed);
    expect(await answer).toBe('2');
    expect(broker.trims).toHaveLength(1);
    expect(broker.machine?.stops).toBe(1);
  });
});
