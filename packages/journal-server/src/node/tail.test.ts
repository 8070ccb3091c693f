import { Isolation } from '@robustmq/rpc';
import { turns } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';
import { batchOf, entry, NodeFixture, until, valuesIn } from './node.fixture.ts';
import { codeOf } from './stream-clients.fixture.ts';

describe('tails', () => {
  it('give what is there, then what is committed, in order and once', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    const client = journal.appends();
    await client.codes(entry(1, batchOf(['a'])));
    const tails = journal.tails();
    tails.open(1, 1, 0);
    await tails.reached(1, 1);
    await client.codes(entry(1, batchOf(['b'])));
    await client.codes(entry(1, batchOf(['c'])), entry(1, batchOf(['d'])));
    await tails.reached(1, 4);
    expect(valuesIn(tails.frames(1))).toEqual(['0:a', '1:b', '2:c', '3:d']);
  });

  it('of one turn travel in one message', async () => {
    await using journal = await NodeFixture.start();
    const shards = [1, 2, 3];
    for (const shardId of shards) await journal.open(shardId);
    const tails = journal.tails();
    for (const shardId of shards) tails.open(shardId, shardId, 0);
    await until(() => tails.chunks.length === 3);
    const before = tails.messages;
    await journal.appends().codes(...shards.map((shardId) => entry(shardId, batchOf(['x']))));
    for (const shardId of shards) await tails.reached(shardId, 1);
    expect(tails.messages).toBe(before + 1);
  });

  it('are told where they stand when they open, though nothing is there', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    const tails = journal.tails();
    tails.open(1, 1, 0);
    expect(await tails.reached(1, 0)).toMatchObject({ nextOffset: 0, highWatermark: 0 });
  });

  it('share the frames of a turn', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    const tails = [journal.tails(), journal.tails()];
    for (const one of tails) one.open(1, 1, 0);
    for (const one of tails) await one.reached(1, 0);
    await journal.appends().codes(entry(1, batchOf(['x'])));
    const [left, right] = await Promise.all(tails.map((one) => one.reached(1, 1)));
    expect(left?.frames).toBe(right?.frames);
  });

  it('without credit keep only their position, and read on when there is some', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    const client = journal.appends();
    const tails = journal.tails();
    tails.open(1, 1, 0, 0);
    for (let batch = 0; batch < 20; batch++) await client.codes(entry(1, batchOf([`${batch}`])));
    await turns(20);
    expect(tails.frames(1)).toHaveLength(0);
    tails.credit(1);
    await tails.reached(1, 1);
    await turns(20);
    // The last batch may pass the credit, by less than its size.
    expect(valuesIn(tails.frames(1))).toEqual(['0:0']);
    tails.credit(1_000_000);
    await tails.reached(1, 20);
    expect(valuesIn(tails.frames(1))).toHaveLength(20);
  });

  it('read from the disk what has left memory, within their credit', async () => {
    await using journal = await NodeFixture.start({
      storageLimits: { recentBytesMax: 16 * 1024, flushBytes: 4 * 1024 },
      limits: { tailChunkBytesMax: 8 * 1024 },
    });
    await journal.open(1);
    const client = journal.appends();
    const value = 'x'.repeat(1_000);
    for (let batch = 0; batch < 100; batch++) await client.codes(entry(1, batchOf([value])));
    const tails = journal.tails();
    tails.open(1, 1, 0, 20_000);
    await until(() => tails.frames(1).length > 15_000);
    await turns(50);
    expect(tails.frames(1).length).toBeLessThan(21_100);
    for (let grant = 0; grant < 10; grant++) {
      tails.credit(20_000);
      await turns(50);
    }
    await tails.reached(1, 100);
    const offsets = valuesIn(tails.frames(1)).map((text) => Number(text.split(':')[0]));
    expect(offsets).toEqual(Array.from({ length: 100 }, (_, index) => index));
  });

  it('end where their segment ends, without credit too', async () => {
    await using journal = await NodeFixture.start();
    journal.chains.policy = { segmentBytes: 1_000_000, segmentMs: 60_000 };
    await journal.open(1);
    await journal.appends().codes(entry(1, batchOf(['a'])));
    const tails = journal.tails();
    tails.open(1, 1, 0);
    await tails.reached(1, 1);
    tails.open(2, 1, 1, 0);
    await tails.reached(2, 1);
    await journal.clock.advance(70_000);
    await until(() => tails.last(1)?.segmentEnded && tails.last(2)?.segmentEnded);
    expect(tails.last(1)).toMatchObject({ nextOffset: 1, status: undefined });
    tails.open(3, 1, 1);
    await journal.appends().codes(entry(1, batchOf(['b'])));
    await tails.reached(3, 2);
    expect(valuesIn(tails.frames(3))).toEqual(['1:b']);
  });

  it('at a fenced leader are sent on, though they have no credit', async () => {
    await using journal = await NodeFixture.start();
    const segment = await journal.open(1);
    const tails = journal.tails();
    tails.open(1, 1, 0, 0);
    await tails.reached(1, 0);
    await journal.fence([{ segment, epoch: segment.epoch + 1 }]);
    const ended = await until(() => tails.of(1).find(({ status }) => status !== undefined));
    expect(codeOf(ended.status)).toBe('NOT_LEADER');
  });

  it('that are closed or cannot be opened say no more', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    const tails = journal.tails();
    tails.open(1, 1, 0);
    tails.open(2, 5, 0);
    await tails.reached(1, 0);
    expect(codeOf(tails.last(2)?.status)).toBe('SEGMENT_UNKNOWN');
    tails.close(1);
    await journal.appends().codes(entry(1, batchOf(['a'])));
    await turns(20);
    expect(tails.last(1)?.nextOffset).toBe(0);
    const isolation = Isolation.READ_COMMITTED;
    tails.open(1, 1, 0, 1_000, { isolation });
    await tails.reached(1, 1);
  });
});
