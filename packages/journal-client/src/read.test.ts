import { type Offset, offset, type ShardId } from '@robustmq/core';
import { nameToken, noHeaders, tokensOfName } from '@robustmq/record-batch';
import {
  type JournalFixture,
  recordOf,
  settled,
  startJournalFixture,
  valuesOf,
} from '@robustmq/testkit';
import * as fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { ClientLimits } from './client-limits.ts';
import type { ReadOptions, Tail } from './journal-client.ts';

const fixtures: JournalFixture[] = [];

interface OneShard extends JournalFixture {
  readonly shardId: ShardId;
  /** Appends one batch for each value and waits until they are committed. */
  readonly put: (...values: string[]) => Promise<void>;
}

async function start(limits: Partial<ClientLimits> = {}): Promise<OneShard> {
  const fixture = await startJournalFixture({}, limits);
  fixtures.push(fixture);
  const [shardId] = fixture.fake.createTopic('t', 1);
  if (shardId === undefined) throw new Error('no shard');
  const appender = fixture.client.appender(shardId);
  const put = async (...values: string[]): Promise<void> => {
    for (const value of values) await settled(appender.append(recordOf(value), 'quorum'));
  };
  return { ...fixture, shardId, put };
}

afterEach(async () => {
  for (const fixture of fixtures.splice(0)) {
    await fixture[Symbol.asyncDispose]();
    expect(fixture.fake.violations).toEqual([]);
  }
});

function from(at: number, more: Partial<ReadOptions> = {}): ReadOptions {
  const options = { fromOffset: offset(at), bytesMax: 1 << 20, waitMs: 0, readCommitted: true };
  return { ...options, ...more };
}

/** Follows a shard and gathers what comes. */
class Follower {
  readonly values: string[] = [];
  readonly positions: number[] = [];
  readonly failures: string[] = [];
  readonly tail: Tail;
  takes = true;
  #changed: () => void = () => {};

  constructor({ client, shardId }: OneShard, fromOffset: number) {
    this.tail = client.tail(
      shardId,
      { fromOffset: offset(fromOffset), readCommitted: true },
      {
        frames: (frames, nextOffset) => {
          this.values.push(...valuesOf(frames));
          this.positions.push(nextOffset);
          this.#changed();
          return this.takes;
        },
        failed: (error) => {
          this.failures.push(error.code);
          this.#changed();
        },
      },
    );
  }

  /** Waits until so many values have come. */
  async reach(count: number): Promise<void> {
    await this.until(() => this.values.length >= count);
  }

  async until(done: () => boolean): Promise<void> {
    while (!done()) {
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }
}

describe('read', () => {
  it('reads from an offset, within the bytes asked for, and at least one batch', async () => {
    const { client, shardId, put } = await start();
    await put('a', 'b', 'c');
    const all = await client.read(shardId, from(0));
    expect(valuesOf(all.frames)).toEqual(['a', 'b', 'c']);
    expect(all).toMatchObject({ nextOffset: 3, highWatermark: 3, lastStableOffset: 3 });
    const one = await client.read(shardId, from(1, { bytesMax: 1 }));
    expect(valuesOf(one.frames)).toEqual(['b']);
    expect(one.nextOffset).toBe(2);
    const none = await client.read(shardId, from(3));
    expect(none).toMatchObject({ nextOffset: 3, frames: Buffer.alloc(0) });
  });

  it('goes over the ends of segments at any journal, also old ones', async () => {
    const { fake, client, shardId, put } = await start();
    for (let at = 0; at < 8; at++) {
      await put(`v${at}`);
      fake.moveLeader(shardId);
    }
    const values: string[] = [];
    let position: Offset = offset(0);
    while (position < 8) {
      const result = await client.read(shardId, from(position));
      values.push(...valuesOf(result.frames));
      expect(result.nextOffset).toBeGreaterThan(position);
      position = result.nextOffset;
    }
    expect(values).toEqual(['v0', 'v1', 'v2', 'v3', 'v4', 'v5', 'v6', 'v7']);
  });

  it('waits for data, also when no segment is open, and for the leader to move', async () => {
    const { fake, client, shardId, put } = await start();
    const early = client.read(shardId, from(0, { waitMs: 60_000 }));
    await put('a');
    expect(valuesOf((await early).frames)).toEqual(['a']);
    const waiting = client.read(shardId, from(1, { waitMs: 60_000 }));
    fake.moveLeader(shardId);
    await put('b');
    expect(valuesOf((await waiting).frames)).toEqual(['b']);
    fake.seal(shardId);
    const empty = await client.read(shardId, from(2, { waitMs: 20 }));
    expect(empty).toMatchObject({ nextOffset: 2 });
  });

  it('ends with the reason of its signal', async () => {
    const { client, shardId, put } = await start();
    await put('a');
    const controller = new AbortController();
    const read = client.read(shardId, from(1, { waitMs: 600_000, signal: controller.signal }));
    controller.abort(new Error('enough'));
    await expect(read).rejects.toThrow('enough');
  });

  it('tells the earliest offset below the trim offset, and that a shard does not exist', async () => {
    const { fake, client, placement, shardId, put } = await start();
    await put('a', 'b');
    fake.moveLeader(shardId);
    await put('c');
    await placement.trimShards([{ shardId, offset: 2 }]);
    await expect(client.read(shardId, from(0))).rejects.toMatchObject({
      code: 'OFFSET_OUT_OF_RANGE',
      hint: { earliestOffset: 2 },
    });
    await expect(client.read(shardId, from(99))).rejects.toMatchObject({
      code: 'OFFSET_OUT_OF_RANGE',
    });
    await expect(client.read(999 as ShardId, from(0))).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(await client.earliestOffset(shardId)).toBe(2);
  });

  it('gives only batches that may have what is asked for, and where to go on', async () => {
    const { client, shardId } = await start();
    const appender = client.appender(shardId);
    for (const name of ['a/b', 'a/c', 'a/b']) {
      const value = Buffer.from(name);
      const filterTokens = tokensOfName(value);
      const record = { timestampMs: 1, key: null, value, headers: noHeaders, filterTokens };
      await settled(appender.append(record, 'quorum'));
    }
    const filterTokens = [nameToken(Buffer.from('a/b'))];
    const result = await client.read(shardId, from(0, { filterTokens }));
    expect(valuesOf(result.frames)).toEqual(['a/b', 'a/b']);
    const other = await client.read(shardId, from(0, { filterTokens: [1] }));
    expect(other).toMatchObject({ nextOffset: 3, frames: Buffer.alloc(0) });
  });

  it('reads on after the journal that has the segment came back', async () => {
    const { fake, client, shardId, put } = await start();
    await put('a');
    const nodeId = fake.require(shardId).open?.leaderNodeId ?? '';
    fake.moveLeader(shardId);
    await fake.kill(nodeId);
    const read = client.read(shardId, from(0));
    await fake.startNode(nodeId);
    expect(valuesOf((await read).frames)).toEqual(['a']);
  });
});

describe('offsets', () => {
  it('are asked once per turn, and never answered by an older question', async () => {
    const { fake, client, shardId, put } = await start();
    expect(await client.endOffset(shardId)).toBe(0);
    await put('a');
    const [one, two] = await Promise.all([client.endOffset(shardId), client.endOffset(shardId)]);
    expect([one, two]).toEqual([1, 1]);
    fake.seal(shardId);
    expect(await client.endOffset(shardId)).toBe(1);
    await put('b');
    expect(await client.endOffset(shardId)).toBe(2);
  });

  it('are found over failovers, and without placement as the catalog knows them', async () => {
    const { fake, client, shardId, put } = await start();
    await put('a');
    fake.watchers.beSilent();
    fake.moveLeader(shardId);
    expect(await client.endOffset(shardId)).toBe(1);
    fake.watchers.speak();
    fake.seal(shardId);
    await put('b');
    fake.seal(shardId);
    await client.read(shardId, from(2));
    await fake.stopPlacement();
    expect(await client.endOffset(shardId)).toBe(2);
  });

  it('are found by time in sealed and open segments', async () => {
    const { fake, client, shardId } = await start();
    const appender = client.appender(shardId);
    for (const timestampMs of [100, 200, 300, 400]) {
      await settled(appender.append({ ...recordOf('x'), timestampMs }, 'quorum'));
      if (timestampMs < 300) fake.moveLeader(shardId);
    }
    const found = [50, 100, 150, 250, 350, 401].map((time) => client.offsetForTime(shardId, time));
    expect(await Promise.all(found)).toEqual([0, 0, 1, 2, 3, undefined]);
  });
});

describe('tail', () => {
  it('follows a shard that has no segment yet, and over its segments', async () => {
    const fixture = await start();
    const { fake, shardId, put } = fixture;
    const follower = new Follower(fixture, 0);
    await put('a', 'b');
    fake.moveLeader(shardId);
    await put('c');
    fake.seal(shardId);
    await put('d');
    await follower.reach(4);
    expect(follower.values).toEqual(['a', 'b', 'c', 'd']);
    expect(follower.tail.nextOffset).toBe(4);
  });

  it('begins in old segments, where it is asked to', async () => {
    const fixture = await start({ tailReadBytes: 1 });
    const { fake, shardId, put } = fixture;
    for (let at = 0; at < 6; at++) {
      await put(`v${at}`, `w${at}`);
      fake.moveLeader(shardId);
    }
    const follower = new Follower(fixture, 3);
    await follower.reach(9);
    await put('live');
    await follower.reach(10);
    expect(follower.values).toEqual(['w1', 'v2', 'w2', 'v3', 'w3', 'v4', 'w4', 'v5', 'w5', 'live']);
  });

  it('stops while it is paused and takes nothing from the others', async () => {
    const fixture = await start({ tailCreditBytes: 2_000 });
    const { fake, client, put } = fixture;
    const [other] = fake.createTopic('other', 1);
    if (other === undefined) throw new Error('no shard');
    const slow = new Follower(fixture, 0);
    await put('a');
    await slow.reach(1);
    slow.takes = false;
    await put('b');
    await slow.reach(2);
    await put(...Array.from({ length: 30 }, (_, at) => `more ${at}`));
    const quick = new Follower({ ...fixture, shardId: other }, 0);
    const appender = client.appender(other);
    for (let at = 0; at < 30; at++) {
      await settled(appender.append(recordOf('x'.repeat(500)), 'quorum'));
    }
    await quick.reach(30);
    expect(slow.values).toEqual(['a', 'b']);
    slow.takes = true;
    slow.tail.resume();
    await slow.reach(32);
    expect(slow.values.at(-1)).toBe('more 29');
  });

  it('fails below the trim offset and when its shard is deleted, and ends when closed', async () => {
    const fixture = await start();
    const { fake, placement, shardId, put } = fixture;
    await put('a', 'b');
    fake.moveLeader(shardId);
    await put('c');
    await placement.trimShards([{ shardId, offset: 2 }]);
    const low = new Follower(fixture, 0);
    await low.until(() => low.failures.length > 0);
    expect(low.failures).toEqual(['OFFSET_OUT_OF_RANGE']);
    const closed = new Follower(fixture, 3);
    closed.tail.close();
    const follower = new Follower(fixture, 3);
    await put('d');
    await follower.reach(1);
    fake.deleteShard(shardId);
    await follower.until(() => follower.failures.length > 0);
    expect(follower.failures).toEqual(['NOT_FOUND']);
    expect(closed.values).toEqual([]);
  });

  it('goes on after its journal was stopped and killed', async () => {
    const fixture = await start();
    const { fake, shardId, put } = fixture;
    const follower = new Follower(fixture, 0);
    await put('a');
    await follower.reach(1);
    const frozen = fake.require(shardId).open?.leaderNodeId ?? '';
    fake.freeze(frozen);
    fake.moveLeader(shardId);
    await put('b');
    await follower.reach(2);
    const leader = fake.require(shardId).open?.leaderNodeId ?? '';
    await fake.kill(leader);
    await fake.startNode(leader);
    await put('c');
    await follower.reach(3);
    expect(follower.values).toEqual(['a', 'b', 'c']);
  });

  it('gives every record once and in order, whatever happens to segments, streams and readers', async () => {
    const step = fc.record({
      act: fc.constantFrom('nothing', 'move', 'seal', 'cut', 'silent', 'speak', 'pause'),
      records: fc.integer({ min: 0, max: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 5, maxLength: 30 }),
        fc.integer({ min: 0, max: 5 }),
        async (steps, fromOffset) => {
          const fixture = await start({ tailCreditBytes: 1_000, tailReadBytes: 150 });
          const { fake, shardId, put } = fixture;
          const sent = Array.from({ length: fromOffset }, (_, at) => `before ${at}`);
          await put(...sent);
          const follower = new Follower(fixture, fromOffset);
          for (const { act, records } of steps) {
            if (act === 'move') fake.moveLeader(shardId);
            if (act === 'seal') fake.seal(shardId);
            if (act === 'cut') fake.cutStreams();
            if (act === 'silent') fake.watchers.beSilent();
            if (act === 'speak') fake.watchers.speak();
            follower.takes = act !== 'pause';
            for (let at = 0; at < records; at++) {
              sent.push(`v${sent.length}`);
              await put(sent.at(-1) ?? '');
            }
            follower.tail.resume();
          }
          follower.takes = true;
          follower.tail.resume();
          fake.watchers.speak();
          await follower.reach(sent.length - fromOffset);
          expect(follower.values).toEqual(sent.slice(fromOffset));
          expect(follower.positions).toEqual([...follower.positions].sort((a, b) => a - b));
          await fixture[Symbol.asyncDispose]();
        },
      ),
      { numRuns: 30 },
    );
  });
});
