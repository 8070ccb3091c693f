import {
  offset,
  type Offset,
  type OperatingError,
  type ShardId,
  silentLogger,
} from '@robustmq/core';
import { RecordBatchWriter } from '@robustmq/record-batch';
import {
  fastClock,
  type JournalFixture,
  recordOf,
  settled,
  startJournalFixture,
  turns,
} from '@robustmq/testkit';
import * as fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { DecodedBatch } from '../log/decoded-batch.ts';
import { RecordReader } from '../log/record-reader.ts';
import { CatchUpReads } from './catch-up-reads.ts';
import { DirectFanOut } from './direct-fan-out.ts';
import type { Attachment, AttachOptions, FanOutReader } from './fan-out.ts';

const fixtures: (JournalFixture & { fanOut: DirectFanOut })[] = [];

interface OneShard extends JournalFixture {
  readonly shardId: ShardId;
  readonly fanOut: DirectFanOut;
  /** Shards of which a tail was opened, in order. */
  readonly tailsOpened: number[];
  readonly put: (...values: string[]) => Promise<void>;
}

async function start(): Promise<OneShard> {
  const fixture = await startJournalFixture({}, { tailReadBytes: 300 });
  const { client, fake } = fixture;
  const tailsOpened: number[] = [];
  const journal = {
    endOffset: client.endOffset.bind(client),
    read: client.read.bind(client),
    tail: (...given: Parameters<typeof client.tail>) => {
      tailsOpened.push(given[0]);
      return client.tail(...given);
    },
  };
  const logger = silentLogger();
  const fanOut = new DirectFanOut({ journal, clock: fastClock(), logger, lingerMs: 200 });
  fixtures.push({ ...fixture, fanOut });
  const [shardId] = fake.createTopic('t', 1);
  if (shardId === undefined) throw new Error('no shard');
  const put = async (...values: string[]): Promise<void> => {
    for (const value of values) {
      await settled(client.appender(shardId).append(recordOf(value), 'quorum'));
    }
  };
  return { ...fixture, shardId, fanOut, tailsOpened, put };
}

afterEach(async () => {
  for (const fixture of fixtures.splice(0)) {
    await fixture.fanOut[Symbol.asyncDispose]();
    await fixture[Symbol.asyncDispose]();
  }
});

/** Gathers what it is given, and checks that frontiers only grow. */
class Gatherer implements FanOutReader {
  readonly values: string[] = [];
  readonly offsets: number[] = [];
  readonly ends: (string | undefined)[] = [];
  attachment: Attachment | undefined;
  takes = true;
  reached = -1;
  #changed: () => void = () => {};

  batch(batch: DecodedBatch): boolean {
    const { cursor, baseOffset } = batch;
    while (cursor.next()) {
      this.offsets.push(baseOffset + cursor.offsetDelta);
      this.values.push(cursor.buffer.toString('utf8', cursor.valueStart, cursor.valueEnd));
    }
    this.#advance(batch.nextOffset);
    return this.takes;
  }

  frontier(frontier: Offset): void {
    this.#advance(frontier);
  }

  detached(error: OperatingError | undefined): void {
    this.ends.push(error?.code);
    this.#changed();
  }

  attach(fixture: OneShard, options?: AttachOptions): this {
    this.attachment = fixture.fanOut.attach(fixture.shardId, this, options);
    return this;
  }

  async until(done: () => boolean): Promise<void> {
    while (!done()) {
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }

  async reach(frontier: number): Promise<void> {
    await this.until(() => this.reached >= frontier);
  }

  #advance(frontier: number): void {
    expect(frontier).toBeGreaterThanOrEqual(this.reached);
    this.reached = frontier;
    this.#changed();
  }
}

describe('DirectFanOut', () => {
  it('has one tail for all readers, and each record comes once to each', async () => {
    const fixture = await start();
    const readers = [1, 2, 3].map(() => new Gatherer().attach(fixture));
    for (const reader of readers)
      await reader.until(() => reader.attachment?.live === true || true);
    await turns(20);
    await fixture.put('a', 'b', 'c');
    for (const reader of readers) await reader.reach(3);
    for (const { values } of readers) expect(values).toEqual(['a', 'b', 'c']);
    expect(fixture.tailsOpened).toHaveLength(1);
    expect(fixture.fanOut.position(fixture.shardId)).toBe(3);
  });

  it('begins at the end without an offset, and where it is asked with one', async () => {
    const fixture = await start();
    await fixture.put('a', 'b', 'c');
    const now = new Gatherer().attach(fixture);
    expect(now.attachment?.frontier).toBeUndefined();
    await now.reach(3);
    const past = new Gatherer().attach(fixture, { fromOffset: offset(1) });
    const later = new Gatherer().attach(fixture, { fromOffset: offset(4) });
    expect(past.attachment?.live).toBe(false);
    expect(later.attachment).toMatchObject({ live: true, frontier: 4 });
    await fixture.put('d', 'e');
    await Promise.all([now.reach(5), past.reach(5), later.reach(5)]);
    expect(now.values).toEqual(['d', 'e']);
    expect(past.values).toEqual(['b', 'c', 'd', 'e']);
    expect(later.values).toEqual(['e']);
    expect(past.attachment?.live).toBe(true);
  });

  it('begins within a batch', async () => {
    const fixture = await start();
    const { client, shardId } = fixture;
    const appender = client.appender(shardId);
    appender.append(recordOf('a'), 'quorum');
    await settled(appender.append(recordOf('b'), 'quorum'));
    const first = new Gatherer().attach(fixture, { fromOffset: offset(1) });
    await first.reach(2);
    const second = new Gatherer().attach(fixture, { fromOffset: offset(1) });
    await second.reach(2);
    expect([first.values, second.values]).toEqual([['b'], ['b']]);
  });

  it('detaches a reader that is behind, at its frontier, and nobody waits for it', async () => {
    const fixture = await start();
    const slow = new Gatherer().attach(fixture, { fromOffset: offset(0) });
    const quick = new Gatherer().attach(fixture, { fromOffset: offset(0) });
    slow.takes = false;
    await fixture.put('a', 'b', 'c');
    await quick.reach(3);
    expect(slow).toMatchObject({ values: ['a'], ends: [undefined] });
    expect(slow.attachment).toMatchObject({ frontier: 1, live: false });
    slow.takes = true;
    slow.attach(fixture, { fromOffset: offset(1) });
    await slow.reach(3);
    expect(slow.values).toEqual(['a', 'b', 'c']);
  });

  it('tells readers that they are too late or that the shard is gone', async () => {
    const fixture = await start();
    const { fake, placement, shardId } = fixture;
    await fixture.put('a', 'b');
    fake.moveLeader(shardId);
    await fixture.put('c');
    await placement.trimShards([{ shardId, offset: 2 }]);
    const live = new Gatherer().attach(fixture, { fromOffset: offset(3) });
    const late = new Gatherer().attach(fixture, { fromOffset: offset(0) });
    await late.until(() => late.ends.length > 0);
    expect(late.ends).toEqual(['OFFSET_OUT_OF_RANGE']);
    fake.deleteShard(shardId);
    await live.until(() => live.ends.length > 0);
    expect(live.ends).toEqual(['NOT_FOUND']);
    expect(fixture.fanOut.tails).toBe(0);
  });

  it('keeps the tail for a while after its last reader has left', async () => {
    const fixture = await start();
    const first = new Gatherer().attach(fixture, { fromOffset: offset(0) });
    await fixture.put('a');
    await first.reach(1);
    first.attachment?.detach();
    const second = new Gatherer().attach(fixture);
    await fixture.put('b');
    await second.reach(2);
    expect(second.values).toEqual(['b']);
    expect(fixture.tailsOpened).toHaveLength(1);
    second.attachment?.detach();
    while (fixture.fanOut.tails > 0) await turns(10);
    await fixture.put('c');
    expect(first.values).toEqual(['a']);
  });

  it('keeps the order around a batch that is decompressed outside the event loop', async () => {
    const fixture = await start();
    const { client, shardId } = fixture;
    const reader = new Gatherer().attach(fixture, { fromOffset: offset(0) });
    const writer = new RecordBatchWriter();
    for (let at = 0; at < 5_000; at++) {
      writer.append(1, null, Buffer.from(`${at}:${Math.sin(at)}:${at * 7919}`));
    }
    const batch = writer.finish({ compression: 'zstd' });
    expect(batch.length).toBeGreaterThan(64 * 1024);
    const filter = Buffer.alloc(0);
    void client.appendBatch({ shardId, batch, filter, ackLevel: 'quorum', writerEpoch: 0 });
    await fixture.put('a', 'b', 'c');
    await reader.reach(5_003);
    expect(reader.offsets).toEqual(Array.from({ length: 5_003 }, (_, at) => at));
    expect(reader.values.slice(5_000)).toEqual(['a', 'b', 'c']);
  });

  it('gives every reader everything from its start once, whenever it joins and leaves', async () => {
    const step = fc.record({
      act: fc.constantFrom('join', 'join', 'leave', 'behind', 'move', 'cut', 'nothing'),
      back: fc.integer({ min: -2, max: 6 }),
      records: fc.integer({ min: 0, max: 4 }),
      pause: fc.integer({ min: 0, max: 4 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
        const fixture = await start();
        const { client, fake, shardId } = fixture;
        const sent: string[] = [];
        const readers: { reader: Gatherer; from: number }[] = [];
        let last: Promise<unknown> = Promise.resolve();
        for (const { act, back, records, pause } of steps) {
          const at = readers.length - 1 - (back % (readers.length || 1));
          const chosen = readers[at]?.reader;
          if (act === 'join') {
            const from = Math.max(0, sent.length - back);
            const reader = new Gatherer().attach(fixture, { fromOffset: offset(from) });
            readers.push({ reader, from });
          }
          if (act === 'leave') chosen?.attachment?.detach();
          if (act === 'behind' && chosen !== undefined) chosen.takes = false;
          if (act === 'move') fake.moveLeader(shardId);
          if (act === 'cut') fake.cutStreams();
          for (let count = 0; count < records; count++) {
            const batch = client.appender(shardId).append(recordOf(`v${sent.length}`), 'quorum');
            sent.push(`v${sent.length}`);
            last = settled(batch);
          }
          await turns(pause);
        }
        await last;
        for (const { reader, from } of readers) {
          // Who was left behind, or starts later than the end, goes on from its frontier.
          reader.takes = true;
          const reached = reader.attachment?.frontier ?? from;
          reader.attachment?.detach();
          if (reached > sent.length) continue;
          reader.attach(fixture, { fromOffset: offset(reached) });
          if (reached < sent.length) await reader.reach(sent.length);
          expect(reader.values).toEqual(sent.slice(from));
        }
        await fixture.fanOut[Symbol.asyncDispose]();
        await fixture[Symbol.asyncDispose]();
      }),
      { numRuns: 40 },
    );
  });
});

describe('CatchUpReads', () => {
  it('lets everybody read once before anybody reads twice', async () => {
    const fixture = await start();
    await fixture.put('a', 'b');
    const reader = new RecordReader({ journal: fixture.client, logger: silentLogger() });
    const reads = new CatchUpReads({ reader, runningMax: 1 });
    const order: string[] = [];
    const one = async (name: string): Promise<void> => {
      const cursor = reads.cursor(fixture.shardId, offset(0));
      for (let at = 0; at < 2; at++) {
        await cursor.read(1, () => {
          order.push(name);
          return true;
        });
      }
      expect(cursor.position).toBe(2);
    };
    await Promise.all([one('x'), one('y'), one('z')]);
    expect(order).toEqual(['x', 'y', 'z', 'x', 'y', 'z']);
    expect(reads.waiting).toBe(0);
  });

  it('leaves the line when it is closed, and can be moved between reads', async () => {
    const fixture = await start();
    await fixture.put('a', 'b', 'c');
    const reader = new RecordReader({ journal: fixture.client, logger: silentLogger() });
    const reads = new CatchUpReads({ reader, runningMax: 1 });
    const first = reads.cursor(fixture.shardId, offset(0));
    const second = reads.cursor(fixture.shardId, offset(0));
    const taken: number[] = [];
    const running = first.read(1, (batch) => taken.push(batch.baseOffset) > 0);
    const closed = second.read(1, () => true);
    second.close();
    await expect(closed).rejects.toMatchObject({ code: 'CANCELLED' });
    await running;
    first.seek(offset(2));
    await first.read(1, (batch) => taken.push(batch.baseOffset) > 0);
    expect(taken).toEqual([0, 2]);
  });
});
