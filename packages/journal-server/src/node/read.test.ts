import {
  encodeEndTransactionMarker,
  FilterBuilder,
  nameToken,
  tokensOfName,
} from '@robustmq/record-batch';
import { Isolation, OffsetSpec, journalBrokerMethods, type OffsetQuery } from '@robustmq/rpc';
import { turns } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';
import { batchOf, entry, NodeFixture, until, valuesIn } from './node.fixture.ts';
import { codeOf } from './stream-clients.fixture.ts';

const READ_COMMITTED = { isolation: Isolation.READ_COMMITTED };

function filterOf(name: string): Buffer {
  const builder = new FilterBuilder();
  builder.add(tokensOfName(Buffer.from(name)));
  return builder.finish();
}

describe('reads', () => {
  it('give whole batches from an offset on, and where to go on', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    await journal.appends().codes(entry(1, batchOf(['a', 'b'])), entry(1, batchOf(['c'])));
    const reads = journal.reads();
    const all = await reads.read(1, 1);
    expect(valuesIn(all.frames)).toEqual(['0:a', '1:b', '2:c']);
    expect(all).toMatchObject({ nextOffset: 3, highWatermark: 3, lastStableOffset: 3 });
    const small = await reads.read(1, 0, { bytesMax: 1 });
    expect(valuesIn(small.frames)).toEqual(['0:a', '1:b']);
    expect(small.nextOffset).toBe(2);
  });

  it('never give what is not committed (I7)', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    const client = journal.appends();
    await client.codes(entry(1, batchOf(['a'])));
    journal.disk.faults.holdSyncs = true;
    const late = entry(1, batchOf(['b']));
    client.send(late);
    await until(() => journal.node.inFlightBytes > 0);
    const reads = journal.reads();
    expect(await reads.read(1, 1)).toMatchObject({ nextOffset: 1, highWatermark: 1 });
    expect(valuesIn((await reads.read(1, 0)).frames)).toEqual(['0:a']);
    journal.disk.releaseSyncs();
    await client.answer(late);
    expect(valuesIn((await reads.read(1, 1)).frames)).toEqual(['1:b']);
  });

  it('that wait are woken by a commit, not by a timer', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    const reads = journal.reads();
    const readId = reads.ask(1, 0, { waitMs: 10_000 });
    await turns(20);
    expect(reads.answers.size).toBe(0);
    await journal.appends().codes(entry(1, batchOf(['a'])));
    expect(valuesIn((await reads.answer(readId)).frames)).toEqual(['0:a']);
  });

  it('that wait are answered empty when their time is over, or withdrawn', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    const reads = journal.reads();
    const readId = reads.ask(1, 0, { waitMs: 500 });
    const withdrawn = reads.ask(1, 0, { waitMs: 500 });
    await turns(20);
    reads.ask(1, 0, { readId: withdrawn, cancel: true });
    await turns(20);
    await journal.clock.advance(480);
    expect(reads.answers.size).toBe(0);
    await journal.clock.advance(30);
    expect(await reads.answer(readId)).toMatchObject({ nextOffset: 0, segmentEnded: false });
    expect(reads.answers.has(withdrawn)).toBe(false);
  });

  it('go on through what does not match, and say how far they came', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    const client = journal.appends();
    const [wanted, other] = [filterOf('a/b'), filterOf('c/d')];
    await client.codes(
      entry(1, batchOf(['0']), { filter: other }),
      entry(1, batchOf(['1']), { filter: wanted }),
      entry(1, batchOf(['2']), { filter: other }),
      entry(1, batchOf(['3'])),
    );
    const reads = journal.reads();
    const filterTokens = [nameToken(Buffer.from('a/b'))];
    const found = await reads.read(1, 0, { filterTokens });
    expect(valuesIn(found.frames)).toEqual(['1:1', '3:3']);
    const nothing = [nameToken(Buffer.from('x'))];
    const scanned = await reads.read(1, 0, {
      filterTokens: nothing,
      bytesMax: 1,
      scanBytesMax: 200,
    });
    expect(scanned.frames).toHaveLength(0);
    expect(scanned.nextOffset).toBe(2);
  });

  it('of a token wait past batches that do not match', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    const client = journal.appends();
    const reads = journal.reads();
    const filterTokens = [nameToken(Buffer.from('a'))];
    const readId = reads.ask(1, 0, { filterTokens, waitMs: 5_000 });
    await client.codes(entry(1, batchOf(['no']), { filter: filterOf('b') }));
    await turns(20);
    expect(reads.answers.size).toBe(0);
    await client.codes(entry(1, batchOf(['yes']), { filter: filterOf('a') }));
    expect(valuesIn((await reads.answer(readId)).frames)).toEqual(['1:yes']);
  });

  it('that ask too far are told the range, or to resolve', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    const reads = journal.reads();
    expect(codeOf((await reads.read(1, 1)).status)).toBe('OFFSET_OUT_OF_RANGE');
    expect(codeOf((await reads.read(2, 0)).status)).toBe('SEGMENT_UNKNOWN');
    expect(codeOf((await reads.read(1, 0, { generation: 1 })).status)).toBe('CONFLICT');
    journal.chains.shard(1).trimOffset = 7;
    const { status } = await reads.read(1, 3);
    expect(codeOf(status)).toBe('OFFSET_OUT_OF_RANGE');
    expect(status?.earliestOffset).toBe(7);
  });

  it('of a sealed segment say that it has ended, and those that wait at a fenced leader are sent on', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    await journal.appends().codes(entry(1, batchOf(['a'])));
    const reads = journal.reads();
    const waiting = reads.ask(1, 1, { waitMs: 10_000 });
    await turns(20);
    await journal.chains.sealLast(1);
    expect(codeOf((await reads.answer(waiting)).status)).toBe('NOT_LEADER');
    const read = await reads.read(1, 0);
    expect(valuesIn(read.frames)).toEqual(['0:a']);
    expect(read).toMatchObject({ nextOffset: 1, segmentEnded: true });
    await journal.open(1);
    expect(await reads.read(1, 1)).toMatchObject({ nextOffset: 1, segmentEnded: false });
  });
});

describe('reads of committed transactions', () => {
  const producer = { producerId: 9, producerEpoch: 0 };
  const batch = (sequence: number): Buffer =>
    batchOf([`t${sequence}`], { ...producer, baseSequence: sequence, transactional: true });
  const marker = (end: 'commit' | 'abort'): Buffer =>
    encodeEndTransactionMarker({ end, coordinatorEpoch: 1 }, producer, 1_000);

  it('stop at an open transaction, and are told of aborted ones', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    const client = journal.appends();
    const reads = journal.reads();
    await client.codes(entry(1, batchOf(['a'])), entry(1, batch(0)), entry(1, batchOf(['b'])));
    const before = await reads.read(1, 0, READ_COMMITTED);
    expect(valuesIn(before.frames)).toEqual(['0:a']);
    expect(before).toMatchObject({ nextOffset: 1, highWatermark: 3, lastStableOffset: 1 });
    await client.codes(entry(1, marker('abort')));
    const after = await reads.read(1, 0, READ_COMMITTED);
    expect(after.lastStableOffset).toBe(4);
    expect(after.aborted).toMatchObject([{ producerId: 9, firstOffset: 1 }]);
    expect((await reads.read(1, 0)).aborted).toEqual([]);
  });

  it('see in a sealed segment what ended in the next one, also after a restart', async () => {
    const first = await NodeFixture.start();
    await first.open(1);
    await first.appends().codes(entry(1, batchOf(['a'])), entry(1, batch(0)));
    await first.chains.sealLast(1);
    await first.open(1);
    const blocked = await first.reads().read(1, 0, READ_COMMITTED);
    expect(valuesIn(blocked.frames)).toEqual(['0:a']);
    expect(blocked).toMatchObject({ nextOffset: 1, segmentEnded: false });
    await first.appends().codes(entry(1, marker('abort')));
    const told = await first.reads().read(1, 0, READ_COMMITTED);
    expect(told.aborted).toMatchObject([{ producerId: 9, firstOffset: 1 }]);
    await using journal = await first.restart();
    await journal.chains.sealLast(1);
    const again = await journal.reads().read(1, 0, READ_COMMITTED);
    expect(again.nextOffset).toBe(2);
    expect(again.aborted).toMatchObject([{ producerId: 9, firstOffset: 1 }]);
  });
});

describe('ListOffsets', () => {
  it('answers from the led segment or a named one', async () => {
    await using journal = await NodeFixture.start();
    const segment = await journal.open(1);
    await journal.appends().codes(entry(1, batchOf(['a'])), entry(1, batchOf(['b'])));
    const ask = async (change: Partial<OffsetQuery>): Promise<unknown[]> => {
      const query = {
        shardId: 1,
        segmentId: Buffer.alloc(0),
        spec: OffsetSpec.LATEST,
        timestampMs: 0,
      };
      const request = { queries: [{ ...query, expectedEpoch: 0, ...change }] };
      const { results } = await journal.client.call(journalBrokerMethods.listOffsets, request);
      return results.map(({ status, offset, found }) => [codeOf(status), offset, found]);
    };
    expect(await ask({})).toEqual([['OK', 2, true]]);
    expect(await ask({ spec: OffsetSpec.EARLIEST })).toEqual([['OK', 0, true]]);
    expect(await ask({ segmentId: segment.segmentId })).toEqual([['OK', 2, true]]);
    expect(await ask({ spec: OffsetSpec.TIMESTAMP, timestampMs: 999 })).toEqual([['OK', 0, true]]);
    expect(await ask({ spec: OffsetSpec.TIMESTAMP, timestampMs: 1_001 })).toEqual([
      ['OK', 2, false],
    ]);
    expect(await ask({ spec: OffsetSpec.MAX_TIMESTAMP })).toEqual([['OK', 0, true]]);
    expect(await ask({ shardId: 2 })).toEqual([['NOT_LEADER', 0, false]]);
  });
});
