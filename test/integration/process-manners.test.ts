import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Cluster } from '../harness/cluster.ts';
import { connectMqtt, Inbox } from './mqtt-client.ts';

let cluster: Cluster;
beforeEach(async () => {
  cluster = await Cluster.start({ brokerArgs: ['--shutdown-timeout-ms', '1500'] });
});
afterEach(() => cluster[Symbol.asyncDispose]());

describe('processes', () => {
  it('log JSON lines, and none per message', async () => {
    const roles = ['placement', 'journal-1', 'broker-1'].map((name) => cluster.role(name));
    const client = await connectMqtt(cluster.mqtt());
    const inbox = new Inbox(client);
    await client.subscribeAsync('counted', { qos: 1 });
    const linesOf = (): number => roles.reduce((sum, role) => sum + role.log.length, 0);
    const before = linesOf();
    const messages = 500;
    for (let sent = 0; sent < messages; sent += 50) {
      const together = Array.from({ length: 50 }, (_, index) => String(sent + index));
      await Promise.all(together.map((text) => client.publishAsync('counted', text, { qos: 1 })));
    }
    await inbox.waitFor(messages);
    await client.endAsync();
    // Coordinators that are still being taken over say so meanwhile.
    expect(linesOf() - before).toBeLessThan(messages / 5);
    for (const role of roles) {
      const lines = role.log.filter((line) => !line.startsWith('ready '));
      for (const line of lines) {
        expect(JSON.parse(line)).toMatchObject({
          level: expect.any(Number),
          time: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
          role: expect.any(String),
          msg: expect.any(String),
        });
      }
      expect(lines.length).toBeGreaterThan(0);
    }
  });

  it('a broker whose peers hang ends in the time it has', async () => {
    // Its session is to be stored when the broker leaves, and nobody takes it.
    const properties = { sessionExpiryInterval: 300 };
    const kept = { clientId: 'kept', protocolVersion: 5 as const, clean: false, properties };
    const client = await connectMqtt(cluster.mqtt(), { ...kept, reconnectPeriod: 0 });
    await client.subscribeAsync('x', { qos: 1 });
    const hanging = ['placement', 'journal-1'].map((name) => cluster.role(name));
    for (const role of hanging) role.signal('SIGSTOP');
    const broker = cluster.role('broker-1');
    expect(await broker.stop()).toBe(1);
    expect(broker.log.join('\n')).toContain('not drained in time');
    for (const role of hanging) role.signal('SIGCONT');
    client.end(true);
  });

  it('a broker ends when a newer one has its name', async () => {
    const first = cluster.role('broker-1');
    const second = await cluster.startBroker('broker-1');
    expect(await first.exited()).not.toBe(0);
    expect(first.log.join('\n')).toContain('the broker cannot go on');
    expect(second.running).toBe(true);
  });
});
