import { OperatingError, type ShardId, seededRandom } from '@robustmq/core';
import { RecordBatchWriter } from '@robustmq/record-batch';
import {
  type JournalFixture,
  recordOf,
  settled,
  startJournalFixture,
  turns,
  valuesIn,
} from '@robustmq/testkit';
import * as fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { ClientLimits } from './client-limits.ts';
import type { BatchToAppend, PendingBatch } from './journal-client.ts';

const fixtures: JournalFixture[] = [];

interface OneShard extends JournalFixture {
  readonly shardId: ShardId;
}

async function start(
  limits: Partial<ClientLimits> = {},
  options: { creditBytes?: number } = {},
): Promise<OneShard> {
  const fixture = await startJournalFixture(options, limits);
  fixtures.push(fixture);
  const [shardId] = fixture.fake.createTopic('t', 1);
  if (shardId === undefined) throw new Error('no shard');
  return { ...fixture, shardId };
}

afterEach(async () => {
  for (const fixture of fixtures.splice(0)) {
    await fixture[Symbol.asyncDispose]();
    expect(fixture.fake.violations).toEqual([]);
  }
});

function foreignBatch(
  shardId: ShardId,
  value: string,
  producer?: { id: number; sequence: number },
  writerEpoch = 0,
): BatchToAppend {
  const writer = new RecordBatchWriter();
  writer.append(1, null, Buffer.from(value));
  const batch =
    producer === undefined
      ? writer.finish()
      : writer.finish({
          producerId: producer.id,
          producerEpoch: 0,
          baseSequence: producer.sequence,
        });
  return { shardId, batch, filter: Buffer.alloc(0), ackLevel: 'quorum', writerEpoch };
}

function refuseOnce(fixture: OneShard, code: OperatingError['code'], times = 1): void {
  let left = times;
  fixture.fake.fault = () =>
    left-- > 0 ? new OperatingError(code, `refused with ${code}`) : undefined;
}

describe('appender', () => {
  it('puts the records of one turn into one batch and tells offset and time', async () => {
    const { fake, client, shardId } = await start();
    const appender = client.appender(shardId);
    const first = appender.append(recordOf('a'), 'quorum');
    expect(first?.recordCount).toBe(1);
    const second = appender.append(recordOf('b'), 'none');
    expect(second).toBe(first);
    const batch = await settled(first);
    expect(batch).toMatchObject({ state: 'acknowledged', baseOffset: 0, recordCount: 2 });
    expect(batch.appendTimeMs).toBeGreaterThan(0);
    const next = await settled(appender.append(recordOf('c'), 'leader'));
    expect(next.baseOffset).toBe(2);
    expect(fake.require(shardId).frames).toHaveLength(2);
    expect(valuesIn(fake.require(shardId))).toEqual(['a', 'b', 'c']);
    expect(client.stats).toMatchObject({
      appendedRecords: 3,
      appendedBatches: 2,
      inFlightBytes: 0,
    });
  });

  it('sends one message per journal and turn, with the batches of all its shards', async () => {
    const { fake, client } = await start();
    const shardIds = fake.createTopic('many', 10);
    const append = (value: string): Promise<PendingBatch[]> =>
      Promise.all(
        shardIds.map((id) => settled(client.appender(id).append(recordOf(value), 'none'))),
      );
    // The first ones wait for their segments, and for the streams.
    await append('first');
    const leaders = new Set(shardIds.map((id) => fake.require(id).open?.leaderNodeId ?? ''));
    fake.appendRequests.length = 0;
    await append('second');
    expect(leaders.size).toBe(2);
    expect(fake.appendRequests.map(({ nodeId }) => nodeId).toSorted()).toEqual(
      [...leaders].toSorted(),
    );
    const appended = fake.appendRequests.flatMap((request) => request.shardIds);
    expect(appended.toSorted((a, b) => a - b)).toEqual(shardIds);
  });

  it('has at most five batches out; what comes meanwhile gathers in the next', async () => {
    const { fake, client, shardId } = await start();
    const appender = client.appender(shardId);
    await settled(appender.append(recordOf('first'), 'quorum'));
    fake.freeze(fake.require(shardId).open?.leaderNodeId ?? '');
    for (let at = 0; at < 20; at++) {
      appender.append(recordOf(`v${at}`), 'quorum');
      await turns(2);
    }
    const last = appender.append(recordOf('last'), 'quorum');
    expect(last?.recordCount).toBe(16);
    fake.moveLeader(shardId);
    await settled(last);
    expect(fake.require(shardId).frames).toHaveLength(1 + 5 + 1);
    const sent = Array.from({ length: 20 }, (_, at) => `v${at}`);
    expect(valuesIn(fake.require(shardId))).toEqual(['first', ...sent, 'last']);
  });

  it('is full at its bound, takes nothing more, and tells when there is room', async () => {
    const { fake, client, shardId } = await start({ shardBytesMax: 10_000, batchBytesMax: 4_000 });
    await fake.stopPlacement();
    const appender = client.appender(shardId);
    let taken = 0;
    while (appender.append(recordOf('x'.repeat(900)), 'quorum') !== undefined) taken++;
    expect(taken).toBe(11);
    expect(appender.full).toBe(true);
    expect(appender.append(recordOf('y'), 'none')).toBeUndefined();
    const writable = new Promise<void>((resolve) => appender.onWritable(resolve));
    await fake.startPlacement();
    await writable;
    expect(appender.full).toBe(false);
    await settled(appender.append(recordOf('z'), 'quorum'));
    expect(valuesIn(fake.require(shardId))).toHaveLength(taken + 1);
    expect(client.stats.inFlightBytes).toBe(0);
  });

  it('stays within the credit that the journal grants', async () => {
    const { fake, client, shardId } = await start({ batchBytesMax: 4_000 }, { creditBytes: 5_000 });
    const appender = client.appender(shardId);
    let last: PendingBatch | undefined;
    for (let at = 0; at < 60; at++) last = appender.append(recordOf('x'.repeat(900)), 'quorum');
    await settled(last);
    expect(valuesIn(fake.require(shardId))).toHaveLength(60);
    expect(fake.violations).toEqual([]);
  });

  it('refuses a record that no batch can hold, and takes one of 4 MiB', async () => {
    const { client, shardId } = await start();
    const appender = client.appender(shardId);
    const tooLarge = (): unknown => appender.append(recordOf('x'.repeat(8 << 20)), 'quorum');
    expect(tooLarge).toThrow(expect.objectContaining({ code: 'BATCH_TOO_LARGE' }));
    const batch = await settled(appender.append(recordOf('x'.repeat(4 << 20)), 'quorum'));
    expect(batch.state).toBe('acknowledged');
  });

  it('fails a batch that is refused for good, and goes on behind it', async () => {
    const fixture = await start();
    const { fake, client, shardId } = fixture;
    const appender = client.appender(shardId);
    await settled(appender.append(recordOf('a'), 'quorum'));
    refuseOnce(fixture, 'INVALID_ARGUMENT');
    const bad = appender.append(recordOf('bad'), 'quorum');
    await turns(1);
    const good = appender.append(recordOf('b'), 'quorum');
    expect((await settled(bad)).error?.code).toBe('INVALID_ARGUMENT');
    expect((await settled(good)).baseOffset).toBe(1);
    await settled(appender.append(recordOf('c'), 'quorum'));
    expect(valuesIn(fake.require(shardId))).toEqual(['a', 'b', 'c']);
  });

  it('goes on under a new producer id when the journal has forgotten it', async () => {
    const { fake, client, shardId } = await start();
    const appender = client.appender(shardId);
    await settled(appender.append(recordOf('a'), 'quorum'));
    fake.require(shardId).forgetProducers();
    const batch = await settled(appender.append(recordOf('b'), 'quorum'));
    expect(batch.state).toBe('acknowledged');
    await settled(appender.append(recordOf('c'), 'quorum'));
    expect(valuesIn(fake.require(shardId))).toEqual(['a', 'b', 'c']);
  });

  it('finds the leader after a restart of the journal with a new incarnation', async () => {
    const { fake, client, shardId } = await start();
    const appender = client.appender(shardId);
    await settled(appender.append(recordOf('a'), 'quorum'));
    const leader = fake.require(shardId).open?.leaderNodeId ?? '';
    await fake.kill(leader);
    const waiting = appender.append(recordOf('b'), 'quorum');
    await fake.startNode(leader);
    await settled(waiting);
    expect(valuesIn(fake.require(shardId))).toEqual(['a', 'b']);
  });

  it('goes on while placement is away', async () => {
    const { fake, client, shardId } = await start();
    const appender = client.appender(shardId);
    await settled(appender.append(recordOf('a'), 'quorum'));
    await fake.stopPlacement();
    await settled(appender.append(recordOf('b'), 'quorum'));
    fake.cutStreams();
    await settled(appender.append(recordOf('c'), 'quorum'));
    expect(valuesIn(fake.require(shardId))).toEqual(['a', 'b', 'c']);
  });

  it('goes to no leader of an older segment than it has been at: an old copy of the chains names it', async () => {
    const { fake, client, shardId, placement } = await start();
    const appender = client.appender(shardId);
    const shard = fake.require(shardId);
    for (const value of ['a', 'b']) {
      await settled(appender.append(recordOf(value), 'quorum'));
      fake.moveLeader(shardId);
    }
    await settled(appender.append(recordOf('c'), 'quorum'));
    const { open } = shard;
    if (open === undefined) throw new Error('a segment is open');
    const { epoch } = open;
    const shown = (wanted: number): Promise<void> =>
      new Promise((resolve) => {
        const stop = placement.catalog.onChange(() => {
          if (placement.catalog.shard(shardId)?.segments.at(-1)?.epoch !== wanted) return;
          stop();
          resolve();
        });
        open.epoch = wanted;
        fake.shardChanged(shard);
      });
    await shown(1);
    const asked = Promise.withResolvers<void>();
    const ensureOpen = fake.ensureOpen.bind(fake);
    fake.ensureOpen = (id) => {
      asked.resolve();
      ensureOpen(id);
    };
    const sent = fake.appendRequests.length;
    const waiting = appender.append(recordOf('d'), 'quorum');
    await asked.promise;
    await turns(20);
    expect(fake.appendRequests).toHaveLength(sent);
    await shown(epoch);
    await settled(waiting);
    expect(valuesIn(shard)).toEqual(['a', 'b', 'c', 'd']);
  });

  it('opens segments for many shards at once when the journals are back', async () => {
    const { fake, client } = await start();
    const shardIds = fake.createTopic('many', 300);
    const appendAll = (value: string): Promise<PendingBatch[]> =>
      Promise.all(
        shardIds.map((id) => settled(client.appender(id).append(recordOf(value), 'quorum'))),
      );
    await appendAll('a');
    await fake.kill('journal-1');
    await fake.kill('journal-2');
    const waiting = appendAll('b');
    await turns(20);
    await fake.startNode('journal-2');
    await waiting;
    for (const id of shardIds) expect(valuesIn(fake.require(id))).toEqual(['a', 'b']);
  });

  it('asks placement when an answer takes long and the watch is silent', async () => {
    const { fake, client, shardId } = await start();
    const appender = client.appender(shardId);
    await settled(appender.append(recordOf('a'), 'quorum'));
    fake.watchers.beSilent();
    fake.freeze(fake.require(shardId).open?.leaderNodeId ?? '');
    fake.moveLeader(shardId);
    await settled(appender.append(recordOf('b'), 'quorum'));
    expect(valuesIn(fake.require(shardId))).toEqual(['a', 'b']);
  });

  it('fails everything with CANCELLED when the client is closed, or the shard is deleted', async () => {
    const { fake, client, shardId } = await start();
    const appender = client.appender(shardId);
    await settled(appender.append(recordOf('a'), 'quorum'));
    fake.deleteShard(shardId);
    const deleted = await settled(appender.append(recordOf('b'), 'quorum'));
    expect(deleted.error?.code).toBe('NOT_FOUND');
    await fake.stopPlacement();
    const waiting = appender.append(recordOf('c'), 'quorum');
    await client[Symbol.asyncDispose]();
    expect((await settled(waiting)).error?.code).toBe('CANCELLED');
    expect(appender.append(recordOf('d'), 'quorum')).toBeUndefined();
  });
});

describe('appendBatch', () => {
  it('keeps the order of one producer through refusals and moves', async () => {
    const fixture = await start();
    const { fake, client, shardId } = fixture;
    const producer = await client.newProducerId();
    const batches = ['a', 'b', 'c', 'd', 'e'].map((value, sequence) =>
      foreignBatch(shardId, value, { id: producer, sequence }),
    );
    refuseOnce(fixture, 'NOT_LEADER', 2);
    const appended = await Promise.all(batches.map((batch) => client.appendBatch(batch)));
    expect(appended.map(({ baseOffset }) => baseOffset)).toEqual([0, 1, 2, 3, 4]);
    expect(valuesIn(fake.require(shardId))).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  it('is told INDETERMINATE without a producer id when the answer is lost', async () => {
    const { fake, client, shardId } = await start();
    await client.appendBatch(foreignBatch(shardId, 'a'));
    fake.freeze(fake.require(shardId).open?.leaderNodeId ?? '');
    const lost = client.appendBatch(foreignBatch(shardId, 'b'));
    const isLost = expect(lost).rejects.toMatchObject({ code: 'INDETERMINATE' });
    await turns(5);
    fake.moveLeader(shardId);
    await isLost;
    await client.appendBatch(foreignBatch(shardId, 'c'));
    expect(valuesIn(fake.require(shardId))).toEqual(['a', 'c']);
  });

  it('is sent again without a producer id when it certainly was not appended', async () => {
    const fixture = await start();
    refuseOnce(fixture, 'RESOURCE_EXHAUSTED', 3);
    const { fake, client, shardId } = fixture;
    await client.appendBatch(foreignBatch(shardId, 'a'));
    expect(valuesIn(fake.require(shardId))).toEqual(['a']);
    expect(client.stats.retries.RESOURCE_EXHAUSTED).toBe(3);
  });

  it('tells a fenced writer so, and a duplicate its first offset', async () => {
    const { client, shardId } = await start();
    const producer = { id: await client.newProducerId(), sequence: 0 };
    await client.appendBatch(foreignBatch(shardId, 'a', producer, 7));
    const again = await client.appendBatch(foreignBatch(shardId, 'a', producer, 7));
    expect(again).toMatchObject({ baseOffset: 0, duplicate: true });
    const fenced = client.appendBatch(foreignBatch(shardId, 'b', undefined, 6));
    await expect(fenced).rejects.toMatchObject({ code: 'WRITER_FENCED' });
    const gap = client.appendBatch(foreignBatch(shardId, 'c', { ...producer, sequence: 5 }, 7));
    await expect(gap).rejects.toMatchObject({ code: 'OUT_OF_ORDER_SEQUENCE' });
    await client.appendBatch(foreignBatch(shardId, 'd', { ...producer, sequence: 1 }, 7));
  });
});

/** What goes wrong around one append. */
const troubles = [
  'NOT_LEADER',
  'RESOURCE_EXHAUSTED',
  'INDETERMINATE',
  'UNAVAILABLE',
  'SEGMENT_UNKNOWN',
  'cut before',
  'cut after',
  'move before',
  'move after',
  'seal after',
] as const;
type Trouble = (typeof troubles)[number];

function makeTrouble({ fake, shardId }: OneShard, trouble: Trouble): OperatingError | undefined {
  switch (trouble) {
    case 'cut before':
      fake.cutStreams();
      return new OperatingError('UNAVAILABLE', 'cut');
    case 'cut after':
      queueMicrotask(() => fake.cutStreams());
      return undefined;
    case 'move before':
      fake.moveLeader(shardId);
      return undefined;
    case 'move after':
      queueMicrotask(() => fake.moveLeader(shardId));
      return undefined;
    case 'seal after':
      queueMicrotask(() => fake.seal(shardId));
      return undefined;
    default:
      return new OperatingError(trouble, `refused with ${trouble}`);
  }
}

describe('retries', () => {
  it('bring every record into the log exactly once and in order, whatever goes wrong', async () => {
    const step = fc.record({
      trouble: fc.option(fc.constantFrom(...troubles), { nil: undefined, freq: 2 }),
      records: fc.integer({ min: 0, max: 3 }),
      turns: fc.integer({ min: 0, max: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
        const fixture = await start({ batchBytesMax: 200 });
        const { fake, client, shardId } = fixture;
        const ahead = steps.map(({ trouble }) => trouble);
        fake.fault = () => {
          const trouble = ahead.shift();
          return trouble === undefined ? undefined : makeTrouble(fixture, trouble);
        };
        const appender = client.appender(shardId);
        const sent: string[] = [];
        const batches = new Map<PendingBatch, Promise<PendingBatch>>();
        for (const { records, turns: pause } of steps) {
          for (let at = 0; at < records; at++) {
            const batch = appender.append(recordOf(`v${sent.length}`), 'quorum');
            if (batch === undefined) throw new Error('full');
            sent.push(`v${sent.length}`);
            if (!batches.has(batch)) batches.set(batch, settled(batch));
          }
          await turns(pause);
        }
        const outcomes = await Promise.all(batches.values());
        expect(outcomes.every(({ state }) => state === 'acknowledged')).toBe(true);
        const inLog = valuesIn(fake.require(shardId));
        expect(inLog).toEqual(sent);
        let offset = 0;
        for (const { baseOffset, recordCount } of outcomes) {
          expect(baseOffset).toBe(offset);
          offset += recordCount;
        }
        await fixture[Symbol.asyncDispose]();
      }),
      { numRuns: 40 },
    );
  });

  it('never repeat a batch without a producer id', async () => {
    const random = seededRandom(5);
    const fixture = await start();
    const { fake, client, shardId } = fixture;
    fake.fault = () => {
      const trouble = troubles[Math.floor(random.next() * troubles.length * 6)];
      return trouble === undefined ? undefined : makeTrouble(fixture, trouble);
    };
    const outcomes = await Promise.allSettled(
      Array.from({ length: 60 }, async (_, at) => {
        await turns(at);
        await client.appendBatch(foreignBatch(shardId, `v${at}`));
        return `v${at}`;
      }),
    );
    const acknowledged = outcomes.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    const inLog = valuesIn(fake.require(shardId));
    expect(new Set(inLog).size).toBe(inLog.length);
    expect(inLog).toEqual(expect.arrayContaining(acknowledged));
    expect(acknowledged.length).toBeGreaterThan(10);
  });
});
