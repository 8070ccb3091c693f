import { rmSync } from 'node:fs';
import { join } from 'node:path';

import { FrameCursor } from '@robustmq/record-batch';
import { grpcTransport, journalBrokerMethods, ReadRequest, type ReadResponse } from '@robustmq/rpc';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Cluster } from '../harness/cluster.ts';
import { robustmq } from './command.ts';
import { connectMqtt } from './mqtt-client.ts';

interface Described {
  readonly shardId: number;
  readonly segments: readonly {
    readonly baseOffset: number;
    readonly endOffset: number | null;
    readonly state: string;
    readonly full: readonly string[];
  }[];
}

let cluster: Cluster;
let published = 0;
beforeAll(async () => {
  cluster = await Cluster.start({ journals: 3 });
});
afterAll(() => cluster[Symbol.asyncDispose]());

async function publish(count: number): Promise<void> {
  const client = await connectMqtt(cluster.mqtt());
  for (let at = 0; at < count; at++) {
    await client.publishAsync(`disk/${at % 5}`, `${published++}`, { qos: 1 });
  }
  await client.endAsync();
}

/** Shards with records, as placement has them. */
async function shards(): Promise<Described[]> {
  const placement = ['--placement', cluster.placement()];
  const { stdout, stderr } = await robustmq('shard', 'describe', 'mqtt', '--json', ...placement);
  expect(stderr).toBe('');
  return (JSON.parse(stdout) as Described[]).filter(({ segments }) => segments.length > 0);
}

/** Ends what the journal leads, and is there again. */
async function bounce(name: string): Promise<void> {
  await cluster.role(name).stop();
  await cluster.restart(name);
}

/** Records of a sealed range as one journal has them, each frame verified. */
async function readFrom(
  address: string,
  range: { shardId: number; from: number; end: number },
): Promise<number> {
  const client = grpcTransport().connect(address, 'bulk');
  const { promise, resolve, reject } = Promise.withResolvers<ReadResponse>();
  const stream = client.open(journalBrokerMethods.read, {
    message: (answer) => resolve(answer),
    closed: (error) => reject(error ?? new Error('the stream has ended')),
  });
  const { shardId, from, end } = range;
  stream.send(ReadRequest.create({ readId: 1, shardId, fromOffset: from, bytesMax: 1_000_000 }));
  try {
    const { status, frames, nextOffset, segmentEnded } = await promise;
    expect(status).toBeUndefined();
    expect({ nextOffset, segmentEnded }).toEqual({ nextOffset: end, segmentEnded: true });
    return countRecords(frames);
  } finally {
    await client[Symbol.asyncDispose]();
  }
}

function countRecords(frames: Buffer): number {
  const cursor = new FrameCursor();
  cursor.reset(frames);
  let records = 0;
  let chain = 0;
  while (cursor.next() === 'frame') {
    expect(cursor.verify(chain)).toBeUndefined();
    chain = cursor.chain;
    if (cursor.kind === 'batch') records += cursor.lastOffset - cursor.baseOffset + 1;
  }
  return records;
}

describe('a journal that comes back without its disk', () => {
  it('gets full replicas of everything that is sealed, and serves it when the others are gone', async () => {
    await publish(40);
    // Its followers lose the leader, and sealed segments are there before the disk is lost.
    await bounce('journal-2');
    await publish(40);
    await cluster.role('journal-2').stop();
    rmSync(join(cluster.dataDir, 'journal-2'), { recursive: true });
    await publish(40);
    await cluster.restart('journal-2');
    // Nothing stays open, so that everything has to be there.
    await bounce('journal-1');
    await bounce('journal-3');
    const lacking = async (): Promise<unknown[]> =>
      (await shards()).flatMap(({ shardId, segments }) =>
        segments
          .filter(({ state, full }) => state !== 'sealed' || !full.includes('journal-2'))
          .map((segment) => ({ shardId, ...segment })),
      );
    await expect.poll(lacking, { timeout: 50_000, interval: 500 }).toEqual([]);

    const sealed = await shards();
    const address = cluster.role('journal-2').address('grpc');
    await Promise.all(['journal-1', 'journal-3'].map((name) => cluster.role(name).kill()));
    let records = 0;
    for (const { shardId, segments } of sealed) {
      for (const { baseOffset, endOffset } of segments) {
        const end = endOffset ?? 0;
        records += await readFrom(address, { shardId, from: baseOffset, end });
      }
    }
    expect(records).toBe(published);
  }, 120_000);
});
