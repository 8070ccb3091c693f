import { offset, silentLogger } from '@robustmq/core';
import { DirectFanOut, encodeReservedHeader } from '@robustmq/kernel';
import { HeaderBlock } from '@robustmq/record-batch';
import { MqttRetained } from '@robustmq/rpc';
import { fastClock, recordOf, settled, startJournalFixture } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';
import { RetainedFold } from './retained-fold.ts';
import { RetainedPartition } from './retained-partition.ts';
import { matchesOf } from './test-matches.ts';

const headers = HeaderBlock.of([
  { name: 'mqtt.retain', value: encodeReservedHeader('mqtt.retain', 1) },
]);

describe('a partition of retained messages', () => {
  it('follows the log through the fan-out, over the end of a segment', async () => {
    await using fixture = await startJournalFixture();
    const { client, fake } = fixture;
    const logger = silentLogger();
    await using fanOut = new DirectFanOut({ journal: client, clock: fastClock(), logger });
    const [shardId] = fake.createTopic('mqtt', 1);
    if (shardId === undefined) throw new Error('no shard');
    const put = async (name: string, value: string): Promise<void> => {
      const record = { ...recordOf(value), key: Buffer.from(name), headers };
      await settled(client.appender(shardId).append(record, 'quorum'));
    };
    const follow = async (position: number, reached: number): Promise<string[]> => {
      const budget = { bytes: 0, messages: 0, bytesMax: 1_000_000, refused: () => {} };
      const fold = new RetainedFold(shardId, offset(position), budget);
      const nameOf = (key: Buffer | null): string | null => key && key.toString();
      const partition = new RetainedPartition(fold, { fanOut, nameOf, logger });
      partition.attach();
      await new Promise<void>((resolve) => partition.whenReached(reached, resolve));
      partition.stop();
      const found: string[] = [];
      for (const { topic, encoded, offset: at } of matchesOf(fold, '#', 0)) {
        found.push(`${topic}=${MqttRetained.decode(encoded).value.toString()}@${at}`);
      }
      return found;
    };
    await put('a', 'one');
    await put('b', 'two');
    expect(await follow(0, 2)).toEqual(['a=one@0', 'b=two@1']);
    fake.seal(shardId);
    const live = follow(0, 3);
    await put('b', 'three');
    expect(await live).toEqual(['a=one@0', 'b=three@2']);
    expect(await follow(1, 3)).toEqual(['b=three@2']);
  });
});
