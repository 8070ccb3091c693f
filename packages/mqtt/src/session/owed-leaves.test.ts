import { OperatingError } from '@robustmq/core';
import { describe, expect, it } from 'vitest';

import { Client, newCluster } from './session-cluster.fixture.ts';
import type { SessionSubscription } from './session-gateway.ts';

describe('share groups of sessions that end', () => {
  const shared = (filter: string): SessionSubscription => ({
    filter,
    qos: 1,
    noLocal: false,
    retainAsPublished: false,
    retainHandling: 0,
    subscriptionId: 0,
    startOffsets: [],
  });

  it('hear of it until they have, and a new owner tells it again', async () => {
    const heard: string[] = [];
    let isReachable = false;
    const cluster = newCluster({}, ({ groupId, key, epoch }) => {
      if (!isReachable) return Promise.reject(new OperatingError('UNAVAILABLE', 'nobody there'));
      heard.push(`${groupId} ${key} ${epoch}`);
      return Promise.resolve();
    });
    const client = new Client(await cluster.broker());
    const first = await cluster.broker({ snapshotBytes: 1 });
    cluster.assign(first);
    await cluster.clock.advance(100);
    const { epoch } = await client.connect({ expirySeconds: 5 });
    const grant = { clientId: 'c', epoch };
    const subscriptions = [shared('$share/g/a/#'), shared('b')];
    await client.settle(client.gateway.subscribe(grant, subscriptions));
    await client.settle(
      client.gateway.disconnect(grant, {
        publishWill: false,
        expirySeconds: undefined,
        progress: undefined,
      }),
    );
    await cluster.clock.advance(4000);
    isReachable = true;
    await cluster.clock.advance(500);
    expect(heard).toEqual([]);
    isReachable = false;
    await cluster.clock.advance(3000);
    expect(heard).toEqual([]);
    first.kill();
    cluster.assign(await cluster.broker());
    isReachable = true;
    await cluster.clock.advance(2000);
    expect(heard).toEqual([`mqtt:g/a/# c ${epoch}`]);
    await cluster.clock.advance(5000);
    expect(heard).toHaveLength(1);
  });

  it('are left at a clean start, not at a takeover that goes on', async () => {
    const heard: number[] = [];
    const cluster = newCluster({}, ({ epoch }) => Promise.resolve(void heard.push(epoch)));
    const client = new Client(await cluster.broker());
    cluster.assign(await cluster.broker());
    await cluster.clock.advance(100);
    const first = await client.connect();
    const grant = { clientId: 'c', epoch: first.epoch };
    await client.settle(client.gateway.subscribe(grant, [shared('$share/g/a')]));
    const second = await client.connect();
    await cluster.clock.advance(100);
    expect([second.present, heard]).toEqual([true, []]);
    await client.connect({ cleanStart: true });
    await cluster.clock.advance(100);
    expect(heard).toEqual([second.epoch]);
  });
});
