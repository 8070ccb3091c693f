import { offset, shardId } from '@robustmq/core';
import type { MqttRetainedPage } from '@robustmq/rpc';
import { turns, VirtualClock } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';

import { newRetainedEntry } from './retained-entry.ts';
import { RetainedFold } from './retained-fold.ts';
import { RetainedLookups } from './retained-lookups.ts';

function foldOf(shard: number, names: Iterable<string>): RetainedFold {
  const budget = { bytes: 0, messages: 0, bytesMax: Number.POSITIVE_INFINITY, refused: () => {} };
  const fold = new RetainedFold(shardId(shard), offset(0), budget);
  const value = Buffer.from('v');
  for (const topic of names) {
    const expiresAtMs = undefined;
    const message = { topic, shardId: shard, offset: 1, appendTimeMs: 0, expiresAtMs };
    fold.restore(newRetainedEntry({ ...message, value, headers: [] }));
  }
  return fold;
}

function* numbered(count: number, suffix = ''): Generator<string> {
  for (let number = 0; number < count; number++) yield `n/${number}${suffix}`;
}

const lookup = (filter: string) => ({ filter, reached: [], from: undefined, limit: 0 });

describe('lookups of retained messages', () => {
  it('search a bounded piece in a turn; others are answered meanwhile', async () => {
    const lookups = new RetainedLookups(new VirtualClock());
    const large = foldOf(1, numbered(20_000));
    const small = foldOf(2, numbered(10));
    const answered: string[] = [];
    const ask = (filter: string, fold: RetainedFold): void =>
      lookups.page(lookup(filter), [fold], ({ messages }) =>
        answered.push(`${filter} ${messages.length}`),
      );
    ask('+/+/x', large);
    ask('n/+', small);
    ask('n/7', large);
    expect(answered, 'a name is one look-up').toEqual(['n/7 1']);
    await turns(2);
    expect(answered).toEqual(['n/7 1', 'n/+ 10']);
    // Each of its names is looked at, at most 1,000 in a turn.
    await turns(15);
    expect(answered).toHaveLength(2);
    await turns(30);
    expect(answered.at(-1)).toBe('+/+/x 0');
  });

  it('answer when they have looked at many, and go on from there', async () => {
    const lookups = new RetainedLookups(new VirtualClock());
    const folds = [foldOf(4, ['n/last/x']), foldOf(3, numbered(60_000))];
    let from: MqttRetainedPage['next'];
    const pages: number[] = [];
    do {
      const page = await new Promise<MqttRetainedPage>((resolve) => {
        lookups.page({ ...lookup('n/+/x'), from }, folds, resolve);
      });
      pages.push(page.messages.length);
      from = page.next;
    } while (from !== undefined);
    expect(pages).toEqual([0, 1]);
  });

  it('fill pages by bytes and by number, with one message at least', async () => {
    const lookups = new RetainedLookups(new VirtualClock());
    const fold = foldOf(1, numbered(5, `/${'long'.repeat(15_000)}`));
    const page = (limit: number): Promise<MqttRetainedPage> =>
      new Promise((resolve) => lookups.page({ ...lookup('#'), limit }, [fold], resolve));
    expect((await page(2)).messages).toHaveLength(2);
    const byBytes = await page(0);
    expect(byBytes.messages.length).toBeGreaterThan(2);
    expect(byBytes.next).toBeDefined();
    expect((await page(5)).messages).toEqual(byBytes.messages);
  });

  it('that were under way when the ownership ended are forgotten', async () => {
    const lookups = new RetainedLookups(new VirtualClock());
    let isAnswered = false;
    lookups.page(lookup('#'), [foldOf(1, numbered(10))], () => (isAnswered = true));
    lookups.stop();
    await turns(3);
    expect(isAnswered).toBe(false);
  });
});
