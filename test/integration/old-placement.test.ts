import { cpSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { expect, it } from 'vitest';

import { Cluster } from '../harness/cluster.ts';
import { connectMqtt } from './mqtt-client.ts';

// Placement was restarted since the copy was made, so that nodes have seen its higher epochs.
it('a placement restored from an old copy of its folder is refused, and says what to do; clients go on', async () => {
  await using cluster = await Cluster.start({ journals: 2 });
  const folder = join(cluster.dataDir, 'placement');
  const [copy, current] = [`${folder}-copy`, `${folder}-current`];
  const publisher = await connectMqtt(cluster.mqtt());
  await publisher.publishAsync('old/x', '1', { qos: 1 });
  await cluster.role('placement').stop();
  cpSync(folder, copy, { recursive: true });
  for (let times = 0; times < 2; times++) {
    await cluster.restart('placement');
    await expect.poll(() => ready(cluster), { timeout: 20_000 }).toBe(200);
    await publisher.publishAsync('old/x', '2', { qos: 1 });
    await registered(cluster, times + 2);
    await cluster.role('placement').kill();
  }

  renameSync(folder, current);
  renameSync(copy, folder);
  await cluster.restart('placement');
  for (const name of ['journal-1', 'journal-2', 'broker-1']) {
    await expect
      .poll(() => errorsOf(cluster, name), { timeout: 20_000 })
      .toMatch(
        /has seen placement epoch 3, this placement has 2: its data folder is an old copy; stop it, and .*robustmq placement rebuild/,
      );
  }
  // What is open goes on without it.
  await publisher.publishAsync('old/x', '3', { qos: 1 });

  await cluster.role('placement').kill();
  rmSync(folder, { recursive: true });
  renameSync(current, folder);
  await cluster.restart('placement');
  await expect.poll(() => ready(cluster), { timeout: 20_000 }).toBe(200);
  await publisher.publishAsync('old/x', '4', { qos: 1 });
  await publisher.endAsync();
});

/** Until every node has registered with the placement of that epoch. */
async function registered(cluster: Cluster, epoch: number): Promise<void> {
  for (const name of ['journal-1', 'journal-2', 'broker-1']) {
    const isTold = (): boolean =>
      cluster
        .role(name)
        .log.some(
          (line) =>
            line.includes('registered with placement') &&
            line.includes(`"placementEpoch":${epoch},`),
        );
    await expect.poll(isTold, { timeout: 20_000 }).toBe(true);
  }
}

function errorsOf(cluster: Cluster, name: string): string {
  const lines = cluster.role(name).log.filter((line) => line.includes('"level":50'));
  return lines.map((line) => (JSON.parse(line) as { msg: string }).msg).join('\n');
}

async function ready(cluster: Cluster): Promise<number> {
  const address = cluster.role('broker-1').address('http');
  return (await fetch(`http://${address}/health/ready`)).status;
}
