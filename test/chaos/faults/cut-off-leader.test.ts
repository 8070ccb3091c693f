import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { connectMqtt } from '../../integration/mqtt-client.ts';
import { ChaosCluster } from '../cluster/chaos-cluster.ts';
import { ClusterNetwork } from '../cluster/network.ts';
import { TortureClient } from '../torture/torture-client.ts';

const reason = ClusterNetwork.missing();
if (reason !== undefined) console.warn(`leaders are not cut off: ${reason}`);
const title = `a leader that placement hears${reason === undefined ? '' : ` (skipped: ${reason})`}`;

describe.skipIf(reason !== undefined)(title, () => {
  let chaos: ChaosCluster;
  let client: TortureClient;
  beforeAll(async () => {
    const kind = { network: true, smallDisks: false, tls: false };
    chaos = await ChaosCluster.start({ journals: 3, brokers: 1, ...kind });
    const address = chaos.cluster.role('placement').address('grpc');
    client = await TortureClient.connect('test', address, { seed: 1 });
  });
  afterAll(async () => {
    await client[Symbol.asyncDispose]();
    await chaos[Symbol.asyncDispose]();
  });

  type Cut = (victim: string) => (readonly [from: string, to: string])[];
  const others = (victim: string, names: readonly string[]): string[] =>
    names.filter((name) => name !== victim);

  it.each<[string, Cut]>([
    [
      'from its peers',
      (victim) =>
        others(victim, chaos.journals).flatMap((other) => [
          [victim, other],
          [other, victim],
        ]),
    ],
    [
      'from its peers, which it hears',
      (victim) => others(victim, chaos.journals).map((other) => [victim, other]),
    ],
    ['from brokers', (victim) => chaos.brokers.flatMap((broker) => [[victim, broker]])],
  ])('and is cut off %s leads no longer: writes go on while the cut lasts', async (how, cut) => {
    const name = how.replaceAll(/\W+/g, '-');
    const [shard = 0] = await client.createTopic(name, 1, { 'mqtt.prefix': name });
    const publisher = await connectMqtt(chaos.cluster.mqtt());
    await publisher.publishAsync(`${name}/x`, 'before', { qos: 1 });
    const leader = (): string =>
      client.placement.catalog.shard(shard)?.segments.at(-1)?.leaderNodeId ?? '';
    await client.placement.catalog.waitFor(() => leader() !== '');
    const victim = leader();
    const { network } = chaos;
    for (const [from, to] of cut(victim)) await network?.cut(from, to);
    await publisher.publishAsync(`${name}/x`, 'meanwhile', { qos: 1 });
    await client.placement.catalog.waitFor(() => leader() !== victim);
    for (const [from, to] of cut(victim)) await network?.heal(from, to);
    await publisher.publishAsync(`${name}/x`, 'afterwards', { qos: 1 });
    expect(await client.endOffset(shard)).toBe(3);
    await publisher.endAsync();
  });
});
