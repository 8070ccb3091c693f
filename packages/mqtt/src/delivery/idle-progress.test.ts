import { VirtualClock } from '@robustmq/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { MqttRig } from '../server/mqtt-rig.fixture.ts';
import { until } from '../server/until.fixture.ts';
import { IdleProgress, type IdleSession } from './idle-progress.ts';

const keep = { sessionExpiryInterval: 1000 };

describe('a durable session that gets nothing', () => {
  let clock: VirtualClock;
  let rig: MqttRig;
  beforeEach(async () => {
    clock = new VirtualClock();
    rig = await MqttRig.start({ clock });
  });
  afterEach(() => rig[Symbol.asyncDispose]());

  const stored = (): number =>
    rig.sessions.session('c').positions.get(rig.shardOf('t'))?.offset ?? 0;
  const progressCalls = (): number =>
    rig.sessions.calls.filter(({ call }) => call === 'progress').length;

  /** Publishes to the partition of `t` what the session does not want. */
  async function publishOthers(count: number): Promise<void> {
    const publisher = await rig.connect({ clientId: 'p', clean: true });
    for (let at = 0, left = count; left > 0; at++) {
      if (rig.shardOf(`other/${at}`) !== rig.shardOf('t')) continue;
      await publisher.publishAcked(`other/${at}`, 'x');
      left--;
    }
    await publisher.disconnect();
  }

  it('has its stored positions moved while it is connected, once in a round', async () => {
    const client = await rig.connect({ clientId: 'c', properties: keep });
    await client.subscribe('t', { qos: 1 });
    await publishOthers(5);
    await until(() => [...rig.server.sessions()].some(({ isBehind }) => isBehind));
    expect(stored()).toBe(0);
    await clock.advance(30_500);
    await until(() => stored() === 5);
    expect(progressCalls()).toBe(1);
    // Nothing has moved since: nothing is told.
    await clock.advance(120_000);
    expect(progressCalls()).toBe(1);
  });

  it('costs nothing while it is away', async () => {
    const client = await rig.connect({ clientId: 'c', properties: keep });
    await client.subscribe('t', { qos: 1 });
    await client.disconnect();
    await until(() => !rig.sessions.session('c').isConnected);
    const before = rig.sessions.calls.filter(({ clientId }) => clientId === 'c').length;
    await publishOthers(5);
    await clock.advance(120_000);
    expect(rig.sessions.calls.filter(({ clientId }) => clientId === 'c')).toHaveLength(before);
  });

  it('keeps no positions of what it is not subscribed to any more', async () => {
    const client = await rig.connect({ clientId: 'c', properties: keep });
    await client.subscribe('t', { qos: 1 });
    await publishOthers(2);
    await client.disconnect();
    await until(() => rig.sessions.session('c').positions.size > 0);
    const again = await rig.connect({ clientId: 'c', clean: false, properties: keep });
    again.send({ cmd: 'unsubscribe', messageId: 4, unsubscriptions: ['t'] });
    await again.expect('unsuback');
    await again.disconnect();
    await until(() => !rig.sessions.session('c').isConnected);
    expect([...rig.sessions.session('c').positions]).toEqual([]);
  });
});

describe('the rounds over idle sessions', () => {
  it('look at a bounded number at a time, and at each once', async () => {
    const clock = new VirtualClock();
    const looked = new Map<number, number>();
    const sessions = Array.from({ length: 300 }, (_, index) => ({
      get isBehind(): boolean {
        looked.set(index, (looked.get(index) ?? 0) + 1);
        return index % 100 === 0;
      },
    })) as unknown as IdleSession[];
    const told: IdleSession[] = [];
    const idle = new IdleProgress({
      clock,
      roundMs: 30_000,
      keeper: { later: (session) => told.push(session as IdleSession) },
      sessions: () => sessions,
      size: () => sessions.length,
    });
    idle.start();
    await clock.advance(30_000);
    expect(looked.size).toBe(11);
    await clock.advance(28_000);
    expect(looked.size).toBe(300);
    expect(Math.max(...looked.values())).toBe(1);
    expect(told).toHaveLength(3);
    idle.close();
    await clock.advance(100_000);
    expect(Math.max(...looked.values())).toBe(1);
  });
});
