import { expect, it } from 'vitest';
import { Cluster } from '../cluster.fixture.ts';

it('a journal that is lost: the failover, its seals and the copies that are missing are measured', async () => {
  await using cluster = await Cluster.start();
  for (const name of ['j1', 'j2', 'j3']) await cluster.journal(name);
  const [shardId = 0] = await cluster.topic('t');
  const [segment] = (await cluster.client.openSegments(shardId)).segments;
  for (const journal of cluster.journals) journal.append(shardId, 3);
  const metric = (name: string): Promise<string> =>
    cluster.registry.getSingleMetricAsString(`robustmq_placement_${name}`);
  expect(await metric('failover_seconds')).toContain('_count 0');
  expect(await metric('segments_under_replicated')).toMatch(/ 0$/);

  const follower = cluster.journals.find(({ nodeId }) => nodeId !== segment?.leaderNodeId);
  await follower?.kill();
  await cluster.settle(5_000);
  expect(await metric('segments_under_replicated')).toMatch(/ 1$/);
  expect(await metric('failover_seconds')).toContain('_count 0');
  await follower?.start();
  await cluster.settle(1_000);

  const leader = cluster.journals.find(({ nodeId }) => nodeId === segment?.leaderNodeId);
  await leader?.kill();
  await cluster.settle(10_000);
  expect(await metric('failover_seconds')).toContain('_count 1');
  expect(await metric('seal_seconds')).not.toContain('_count 0');
});
