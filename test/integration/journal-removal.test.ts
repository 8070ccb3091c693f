import { afterAll, beforeAll, expect, it } from 'vitest';

import { Cluster } from '../harness/cluster.ts';
import { type Finished, robustmq } from './command.ts';
import { connectMqtt } from './mqtt-client.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start({ journals: 4 });
});
afterAll(() => cluster[Symbol.asyncDispose]());

function admin(...args: string[]): Promise<Finished> {
  return robustmq(...args, '--placement', cluster.role('placement').address('grpc'));
}

it('a journal that drains gets nothing new, says what is left, and can be taken back', async () => {
  const publisher = await connectMqtt(cluster.mqtt());
  for (let at = 0; at < 8; at++) await publisher.publishAsync(`d/${at}`, 'x', { qos: 1 });
  const ordered = await admin('journal', 'drain', 'journal-4', '--no-wait');
  expect(ordered).toMatchObject({ code: 0, stdout: expect.stringContaining('gets nothing new') });
  const { stdout } = await admin('journal', 'list');
  expect(stdout).toMatch(/^journal-4\s+drain(?:ing|ed)/m);
  expect((await admin('status')).stdout).toMatch(/journal-4 (?:drains:|is drained)/);
  for (let at = 0; at < 8; at++) await publisher.publishAsync(`d/${at}`, 'y', { qos: 1 });
  await publisher.endAsync();
  const back = await admin('journal', 'drain', 'journal-4', '--cancel');
  expect(back).toMatchObject({ code: 0, stdout: 'journal-4 is in use again\n' });
});

it('a journal without anything is drained at once, then removed, and its name is burnt', async () => {
  await cluster.startJournal('journal-5');
  const drained = await admin('journal', 'drain', 'journal-5');
  expect(drained).toMatchObject({ code: 0, stdout: expect.stringContaining('is drained') });
  const early = await admin('journal', 'remove', 'journal-1', '--yes');
  expect(early).toMatchObject({ code: 1, stderr: expect.stringContaining('journal-1') });
  await cluster.role('journal-5').stop();
  expect(await admin('journal', 'remove', 'journal-5', '--yes')).toMatchObject({ code: 0 });
  expect((await admin('journal', 'list')).stdout).not.toContain('journal-5');
  await expect(cluster.restart('journal-5')).rejects.toThrow('journal-5');
});

it.each([
  [['drain', 'nobody'], 'nobody'],
  [['remove', 'nobody', '--yes'], 'nobody'],
])('%j: one clear line', async (args, words) => {
  const { code, stderr } = await admin('journal', ...args);
  expect(code).toBe(1);
  expect(stderr.split('\n').at(-2)).toMatch(/^robustmq: /);
  expect(stderr).toContain(words);
});
