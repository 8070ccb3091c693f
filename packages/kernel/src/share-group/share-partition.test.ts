import { type Offset, offset, OperatingError, shardId, silentLogger } from '@robustmq/core';
import { RecordBatchWriter, RecordCursor } from '@robustmq/record-batch';
import { turns } from '@robustmq/testkit';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Attachment, AttachOptions, FanOutReader } from '../fan-out/fan-out.ts';
import type { DecodedBatch } from '../log/decoded-batch.ts';
import { ShareBudget } from './share-budget.ts';
import { SharePartition } from './share-partition.ts';
import type { ShareSource } from './share-protocol.ts';
import { Delivery } from './share-record.ts';

const shard = shardId(3);

/** Keys are `once …`, `often …`, or of no concern. */
const source: ShareSource = {
  partitions: () => [shard],
  wants: (_, { buffer, keyStart }) => buffer[keyStart] === 0x6f,
  describe: ({ buffer, keyStart }, _, traits) => {
    const isOnce = buffer.toString('utf8', keyStart, keyStart + 4) === 'once';
    traits.delivery = isOnce ? Delivery.atMostOnce : Delivery.atLeastOnce;
    return true;
  },
};

function batchOf(baseOffset: number, keys: readonly string[]): DecodedBatch {
  const writer = new RecordBatchWriter();
  for (const key of keys) writer.append(0, Buffer.from(key), Buffer.from('value'));
  const cursor = new RecordCursor();
  cursor.reset(writer.finish());
  return {
    shardId: shard,
    baseOffset: offset(baseOffset),
    nextOffset: offset(baseOffset + keys.length),
    appendTimeMs: 0,
    producerId: -1,
    writerEpoch: 0,
    cursor,
  };
}

describe('SharePartition', () => {
  let partition: SharePartition;
  let reader: FanOutReader | undefined;
  let attachedAt: number[];
  let ends: PromiseWithResolvers<Offset>[];
  let trimmed: number;
  let budget: ShareBudget;

  beforeEach(() => {
    attachedAt = [];
    ends = [];
    trimmed = 0;
    reader = undefined;
    budget = new ShareBudget({ bytesMax: 1_000_000, bytesMin: 0 });
    partition = new SharePartition(
      shard,
      { start: 10, settled: [], attempts: new Map(), pins: new Map() },
      {
        source,
        fanOut: {
          attach: (_, given: FanOutReader, options: AttachOptions = {}): Attachment => {
            reader = given;
            attachedAt.push(options.fromOffset ?? -1);
            const detach = (): void => void (reader = undefined);
            return { shardId: shard, frontier: options.fromOffset, live: true, detach };
          },
        },
        endOffset: () => {
          const end = Promise.withResolvers<Offset>();
          ends.push(end);
          return end.promise;
        },
        budget,
        recordsMax: 4,
        attemptsMax: undefined,
        logger: silentLogger(),
        arrived: () => {},
        trimmed: (count) => (trimmed += count),
      },
    );
  });

  /** What is available, which is settled at once. */
  const takeAll = (): number[] => {
    const taken: number[] = [];
    partition.window.handOut((entry) => {
      partition.window.settle(entry);
      return taken.push(entry.offset) > 0;
    });
    return taken;
  };

  it('takes what concerns the group, from its start on', () => {
    partition.open(true);
    expect(attachedAt).toEqual([10]);
    expect(reader?.batch(batchOf(9, ['often', 'often', 'x', 'once', 'x']))).toBe(true);
    expect(takeAll()).toEqual([10, 12]);
    expect(partition.window.start).toBe(14);
    reader?.frontier(offset(20));
    expect(partition.window.start).toBe(20);
    expect(budget.bytes).toBe(0);
  });

  it('stops when it is full, and goes on there when half of it is settled', () => {
    partition.open(true);
    expect(reader?.batch(batchOf(10, ['often', 'often', 'often', 'often']))).toBe(true);
    expect(reader?.batch(batchOf(14, ['x', 'often', 'often']))).toBe(false);
    reader?.detached(undefined);
    partition.resume();
    expect(attachedAt).toEqual([10]);
    takeAll();
    partition.resume();
    expect(attachedAt).toEqual([10, 15]);
    expect(reader?.batch(batchOf(14, ['x', 'often', 'often']))).toBe(true);
    expect(takeAll()).toEqual([15, 16]);
  });

  it('stops when the memory of all groups is full', () => {
    partition.open(true);
    budget.take(1_000_000);
    expect(reader?.batch(batchOf(10, ['often']))).toBe(false);
    partition.resume();
    expect(attachedAt).toEqual([10]);
    budget.giveBack(1_000_000);
    partition.resume();
    expect(attachedAt).toEqual([10, 10]);
  });

  it('passes over at-most-once records of the time before it was opened again', async () => {
    partition.open(false);
    expect(attachedAt).toEqual([]);
    ends[0]?.resolve(offset(13));
    await turns(1);
    reader?.batch(batchOf(10, ['once', 'often', 'once', 'once']));
    expect(takeAll()).toEqual([11, 13]);
  });

  it('closed while it asks for the end, it stays closed; a failure is tried again', async () => {
    partition.open(false);
    partition.close();
    ends[0]?.resolve(offset(13));
    await turns(1);
    expect(attachedAt).toEqual([]);
    partition.open(false);
    ends[1]?.reject(new OperatingError('UNAVAILABLE', 'no leader'));
    await turns(1);
    partition.open(false);
    ends[2]?.resolve(offset(10));
    await turns(1);
    expect(attachedAt).toEqual([10]);
  });

  it('goes on behind what was trimmed, and counts it', () => {
    partition.open(true);
    reader?.detached(new OperatingError('OFFSET_OUT_OF_RANGE', 'gone', { earliestOffset: 50 }));
    expect([trimmed, attachedAt]).toEqual([40, [10, 50]]);
    expect(partition.window.start).toBe(50);
  });

  it('is taken up again when its tail was lost', () => {
    partition.open(true);
    reader?.batch(batchOf(10, ['often']));
    reader?.detached(new OperatingError('UNAVAILABLE', 'away'));
    partition.resume();
    expect(attachedAt).toEqual([10, 11]);
  });

  it('reads again from the start after it was closed', () => {
    partition.open(true);
    reader?.batch(batchOf(10, ['often', 'often', 'often']));
    partition.window.handOut((entry) => {
      if (entry.offset === 11) partition.window.settle(entry);
      else partition.window.acquire(entry, 'm', 1000);
      return true;
    });
    partition.window.releaseAll('m');
    partition.close();
    expect(budget.bytes).toBe(0);
    partition.open(true);
    expect(attachedAt).toEqual([10, 10]);
    reader?.batch(batchOf(10, ['often', 'often', 'often', 'often']));
    expect(takeAll()).toEqual([10, 12, 13]);
  });
});
