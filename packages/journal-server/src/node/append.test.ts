import { AckLevel } from '@robustmq/rpc';
import { MemoryDisk } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';
import { batchOf, entry, NodeFixture, producerBatch, until, valuesIn } from './node.fixture.ts';
import { codeOf } from './stream-clients.fixture.ts';

describe('appends', () => {
  it('get dense offsets and are answered once they are durable', async () => {
    await using journal = await NodeFixture.start();
    const segment = await journal.open(1);
    const client = journal.appends();
    expect(await client.offset(entry(1, batchOf(['a', 'b'])))).toBe(0);
    expect(await client.offset(entry(1, batchOf(['c'])))).toBe(2);
    expect(journal.replica(segment).stored.durableLength).toBe(3);
  });

  it('of one turn are answered in one message', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    await journal.open(2);
    const client = journal.appends();
    await until(() => client.creditBytes > 0);
    const before = client.responses;
    const entries = [1, 2, 1, 2].map((shardId) => entry(shardId, batchOf(['x'])));
    expect(await client.codes(...entries)).toEqual(['OK', 'OK', 'OK', 'OK']);
    expect(client.responses).toBe(before + 1);
  });

  it('grant credit at once, take none for what is answered, and grant it again', async () => {
    await using journal = await NodeFixture.start({ limits: { appendWindowBytes: 1_000 } });
    await journal.open(1);
    const client = journal.appends();
    await until(() => client.creditBytes === 1_000);
    const batch = batchOf(['x']);
    const bytes = batch.length;
    await client.codes(entry(1, batch));
    expect(client.creditBytes).toBe(1_000 + bytes);
  });

  it('wait for the sync at level quorum and leader, and not at none', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    const client = journal.appends();
    await client.codes(entry(1, batchOf(['first'])));
    journal.disk.faults.holdSyncs = true;
    const waiting = [AckLevel.LEADER, AckLevel.QUORUM, AckLevel.ALL].map((ackLevel) =>
      entry(1, batchOf(['x']), { ackLevel }),
    );
    const none = entry(1, batchOf(['x']), { ackLevel: AckLevel.NONE });
    client.send(...waiting, none);
    expect(codeOf((await client.answer(none)).status)).toBe('OK');
    expect(waiting.some(({ appendId }) => client.results.has(appendId))).toBe(false);
    journal.disk.releaseSyncs();
    for (const one of waiting) expect(codeOf((await client.answer(one)).status)).toBe('OK');
  });

  it.each([
    ['a wrong checksum', 'CORRUPT_BATCH', (batch: Buffer) => batch.fill(1, batch.length - 1)],
    ['another magic', 'CORRUPT_BATCH', (batch: Buffer) => batch.fill(1, 16, 17)],
  ])('with %s are refused with %s', async (_name, code, spoil) => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    const batch = batchOf(['x']);
    spoil(batch);
    expect(await journal.appends().codes(entry(1, batch))).toEqual([code]);
  });

  it('with two batches, a broken filter or a producer without sequence are refused', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    const client = journal.appends();
    const two = Buffer.concat([batchOf(['x']), batchOf(['y'])]);
    const filter = Buffer.from([1, 2, 3]);
    const codes = await client.codes(
      entry(1, two),
      entry(1, batchOf(['x']), { filter, resume: true }),
      entry(1, batchOf(['x'], { producerId: 1, producerEpoch: 0 }), { resume: true }),
    );
    expect(codes).toEqual(['CORRUPT_BATCH', 'INVALID_ARGUMENT', 'INVALID_ARGUMENT']);
  });

  it('to a shard that is not led here, or with another epoch, are refused with NOT_LEADER', async () => {
    await using journal = await NodeFixture.start();
    const { epoch } = await journal.open(1);
    const client = journal.appends();
    expect(await client.codes(entry(2, batchOf(['x'])))).toEqual(['NOT_LEADER']);
    const other = entry(1, batchOf(['x']), { expectedEpoch: epoch + 1 });
    expect(await client.codes(other)).toEqual(['NOT_LEADER']);
    const right = entry(1, batchOf(['x']), { expectedEpoch: epoch, resume: true });
    expect(await client.codes(right)).toEqual(['OK']);
  });

  it('after a refusal are refused on that stream and shard until they resume', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    await journal.open(2);
    const client = journal.appends();
    const other = journal.appends();
    const bad = entry(1, Buffer.alloc(61));
    const codes = await client.codes(
      bad,
      entry(1, batchOf(['x'])),
      entry(2, batchOf(['x'])),
      entry(1, batchOf(['x']), { resume: true }),
      entry(1, batchOf(['x'])),
    );
    expect(codes).toEqual(['CORRUPT_BATCH', 'STREAM_SUSPENDED', 'OK', 'OK', 'OK']);
    expect(await other.codes(entry(1, batchOf(['x'])))).toEqual(['OK']);
  });

  it('beyond the bytes in flight of a shard are refused for now, and other shards go on', async () => {
    const limits = { inFlightBytesPerShardMax: 250 };
    await using journal = await NodeFixture.start({ limits });
    await journal.open(1);
    await journal.open(2);
    const client = journal.appends();
    await client.codes(entry(1, batchOf(['x'])));
    journal.disk.faults.holdSyncs = true;
    const entries = [1, 2, 3, 4, 5, 6].map(() => entry(1, batchOf(['x'])));
    const elsewhere = entry(2, batchOf(['x']));
    client.send(...entries, elsewhere);
    await until(() => client.results.size > 2);
    const codes = entries.map((one) => codeOf(client.results.get(one.appendId)?.status));
    expect(codes.slice(3)).toEqual(['RESOURCE_EXHAUSTED', 'STREAM_SUSPENDED', 'STREAM_SUSPENDED']);
    expect(entries.slice(0, 3).some(({ appendId }) => client.results.has(appendId))).toBe(false);
    journal.disk.releaseSyncs();
    expect(codeOf((await client.answer(elsewhere)).status)).toBe('OK');
    expect(await client.codes(entry(1, batchOf(['x']), { resume: true }))).toEqual(['OK']);
    expect(journal.node.inFlightBytes).toBe(0);
  });

  it('beyond the bytes in flight of the journal are refused for now, whatever their shard', async () => {
    const limits = { inFlightBytesMax: 250 };
    await using journal = await NodeFixture.start({ limits });
    for (const shardId of [1, 2, 3, 4]) await journal.open(shardId);
    const client = journal.appends();
    await client.codes(entry(1, batchOf(['x'])));
    journal.disk.faults.holdSyncs = true;
    const entries = [1, 2, 3, 4].map((shardId) => entry(shardId, batchOf(['x'])));
    client.send(...entries);
    await until(() => client.results.size > 1);
    const statuses = entries.map((one) => client.results.get(one.appendId)?.status);
    expect(statuses.slice(0, 3)).toEqual([undefined, undefined, undefined]);
    expect(codeOf(statuses[3])).toBe('RESOURCE_EXHAUSTED');
    expect(statuses[3]).toMatchObject({ retryAfterMs: journal.node.limits.exhaustedRetryMs });
    expect(journal.node.inFlightBytes).toBeLessThanOrEqual(250);
    journal.disk.releaseSyncs();
    expect(await client.codes(entry(4, batchOf(['x']), { resume: true }))).toEqual(['OK']);
    expect(journal.node.inFlightBytes).toBe(0);
  });

  it('are refused with DISK_FULL when there is no space, while reads go on', async () => {
    const disk = new MemoryDisk();
    await using journal = await NodeFixture.start({ disk });
    await journal.open(1);
    const client = journal.appends();
    await client.codes(entry(1, batchOf(['kept'])));
    disk.capacityBytes = disk.usedBytes;
    await journal.clock.advance(60_000);
    const codes: string[] = [];
    for (let tries = 0; tries < 50 && codes.at(-1) !== 'DISK_FULL'; tries++) {
      const big = entry(1, batchOf(['x'.repeat(20_000)]), { resume: true });
      codes.push(...(await client.codes(big)));
    }
    expect(codes.at(-1)).toBe('DISK_FULL');
    const { frames } = await journal.reads().read(1, 0);
    expect(valuesIn(frames)[0]).toBe('0:kept');
    disk.capacityBytes = Number.MAX_SAFE_INTEGER;
    await journal.clock.advance(60_000);
    expect(await client.codes(entry(1, batchOf(['y']), { resume: true }))).toEqual(['OK']);
  });
});

describe('idempotent producers', () => {
  it('get the first offset again for a batch that was appended', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    const client = journal.appends();
    await client.codes(entry(1, producerBatch(0)), entry(1, producerBatch(1)));
    const again = entry(1, producerBatch(0));
    client.send(again);
    expect(await client.answer(again)).toMatchObject({ duplicate: true, baseOffset: 0 });
    expect(await client.offset(entry(1, producerBatch(2)))).toBe(2);
  });

  it('wait for the commit of the first when a batch comes twice in one turn', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    const client = journal.appends();
    await client.codes(entry(1, producerBatch(0)));
    journal.disk.faults.holdSyncs = true;
    const entries = [entry(1, producerBatch(1)), entry(1, producerBatch(1))];
    const marker = entry(1, batchOf(['x']), { ackLevel: AckLevel.NONE });
    client.send(...entries, marker);
    await client.answer(marker);
    expect(client.results.size).toBe(2);
    journal.disk.releaseSyncs();
    const answers = await Promise.all(entries.map((one) => client.answer(one)));
    expect(answers.map(({ baseOffset }) => baseOffset)).toEqual([1, 1]);
  });

  it('are known after a restart', async () => {
    const first = await NodeFixture.start();
    await first.open(1);
    const batches = [0, 1, 2].map((sequence) => entry(1, producerBatch(sequence)));
    await first.appends().codes(...batches);
    await using journal = await first.restart();
    await journal.chains.sealLast(1);
    await journal.open(1);
    const client = journal.appends();
    const again = entry(1, producerBatch(2));
    client.send(again);
    expect(await client.answer(again)).toMatchObject({ duplicate: true, baseOffset: 2 });
    expect(await client.offset(entry(1, producerBatch(3)))).toBe(3);
    const { frames } = await journal.reads().read(1, 3);
    expect(valuesIn(frames)).toEqual(['3:7/3']);
  });

  it('may send early batches, which wait for what comes before them', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    const [one, two] = [journal.appends(), journal.appends()];
    await one.codes(entry(1, producerBatch(0)));
    const early = [entry(1, producerBatch(3)), entry(1, producerBatch(2))];
    two.send(...early);
    expect(await one.offset(entry(1, producerBatch(1)))).toBe(1);
    const answers = await Promise.all(early.map((late) => two.answer(late)));
    expect(answers.map(({ baseOffset }) => baseOffset)).toEqual([3, 2]);
  });

  it('are told OUT_OF_ORDER_SEQUENCE when nothing comes before within 500 ms', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    const client = journal.appends();
    await client.codes(entry(1, producerBatch(0)));
    const early = entry(1, producerBatch(2));
    client.send(early);
    await until(() => journal.node.inFlightBytes > 0);
    await journal.clock.advance(490);
    expect(client.results.has(early.appendId)).toBe(false);
    await journal.clock.advance(30);
    expect(codeOf((await client.answer(early)).status)).toBe('OUT_OF_ORDER_SEQUENCE');
  });

  it('that are not known may begin anywhere, after sequence 0 was waited for', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    const client = journal.appends();
    const entries = [entry(1, producerBatch(8)), entry(1, producerBatch(9))];
    client.send(...entries);
    await until(() => journal.node.inFlightBytes > 0);
    await journal.clock.advance(520);
    const answers = await Promise.all(entries.map((one) => client.answer(one)));
    expect(answers.map(({ baseOffset, status }) => [baseOffset, codeOf(status)])).toEqual([
      [0, 'OK'],
      [1, 'OK'],
    ]);
  });

  it('survive a clock that jumps by a day', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    const client = journal.appends();
    await client.codes(entry(1, producerBatch(0)), entry(1, producerBatch(1)));
    journal.clock.jumpWall(3 * 86_400_000);
    const again = entry(1, producerBatch(1));
    client.send(again);
    expect(await client.answer(again)).toMatchObject({ duplicate: true });
    journal.clock.jumpWall(-6 * 86_400_000);
    const back = entry(1, producerBatch(2));
    client.send(back);
    expect((await client.answer(back)).baseOffset).toBe(2);
  });

  it('append times never go back within a segment, whatever the clock does', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    const client = journal.appends();
    const times: number[] = [];
    for (const jumpMs of [0, 60_000, -120_000]) {
      journal.clock.jumpWall(jumpMs);
      const one = entry(1, batchOf(['x']));
      client.send(one);
      times.push((await client.answer(one)).appendTimeMs);
    }
    expect(times).toEqual(times.toSorted((left, right) => left - right));
  });
});

describe('writer epochs', () => {
  it('fence lower ones, also after a seal and a restart', async () => {
    const first = await NodeFixture.start();
    await first.open(1);
    const codes = await first
      .appends()
      .codes(
        entry(1, batchOf(['a']), { writerEpoch: 2 }),
        entry(1, batchOf(['b']), { writerEpoch: 1 }),
        entry(1, batchOf(['c']), { writerEpoch: 3, resume: true }),
        entry(1, batchOf(['d']), { writerEpoch: 2 }),
      );
    expect(codes).toEqual(['OK', 'WRITER_FENCED', 'OK', 'WRITER_FENCED']);
    await using journal = await first.restart();
    await journal.chains.sealLast(1);
    await journal.open(1);
    const after = await journal
      .appends()
      .codes(
        entry(1, batchOf(['e']), { writerEpoch: 2 }),
        entry(1, batchOf(['f']), { resume: true }),
        entry(1, batchOf(['g']), { writerEpoch: 3, resume: true }),
      );
    expect(after).toEqual(['WRITER_FENCED', 'WRITER_FENCED', 'OK']);
  });
});
