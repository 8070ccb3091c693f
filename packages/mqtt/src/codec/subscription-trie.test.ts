import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SubscriptionTrie } from './subscription-trie.ts';
import { topicMatches } from './topic.ts';

type Trie = SubscriptionTrie<number, string>;

function newTrie(): Trie {
  return new SubscriptionTrie<number, string>();
}

function matched(trie: Trie, name: string): string[] {
  return trie
    .match(name, [])
    .map(({ key, value }) => `${key}:${value}`)
    .sort();
}

const level = fc.constantFrom('a', 'b', '', '$x');
const names = fc.array(level, { minLength: 1, maxLength: 4 }).map((levels) => levels.join('/'));
const filters = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { maxLength: 4 }), fc.boolean())
  .map(([levels, hash]) => (hash ? [...levels, '#'] : levels).join('/'))
  .filter((filter) => filter !== '');
const changes = fc.array(
  fc.record({ add: fc.boolean(), filter: filters, key: fc.nat({ max: 3 }) }),
  { maxLength: 40 },
);

describe('SubscriptionTrie', () => {
  it('agrees with the naive matcher after any changes [MQTT5-4.7.1-1, -4.7.1-2, -4.7.2-1]', () => {
    fc.assert(
      fc.property(changes, fc.array(names, { minLength: 1, maxLength: 8 }), (steps, topics) => {
        const trie = newTrie();
        const model = new Map<string, Map<number, string>>();
        for (const [step, { add, filter, key }] of steps.entries()) {
          const keys = model.get(filter) ?? new Map<number, string>();
          model.set(filter, keys);
          const before = keys.get(key);
          if (add) {
            expect(trie.insert(filter, key, `${filter} ${step}`)).toBe(before);
            keys.set(key, `${filter} ${step}`);
          } else {
            expect(trie.remove(filter, key)).toBe(before !== undefined);
            keys.delete(key);
          }
        }
        const all = [...model].flatMap(([filter, keys]) =>
          [...keys].map(([key, value]) => ({ filter, text: `${key}:${value}` })),
        );
        expect(trie.size).toBe(all.length);
        for (const topic of topics) {
          const wanted = all.filter(({ filter }) => topicMatches(filter, topic));
          expect(matched(trie, topic)).toEqual(wanted.map(({ text }) => text).sort());
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('gives a key once for each of its filters that match', () => {
    const trie = newTrie();
    for (const filter of ['a/b', 'a/+', 'a/#', '#', 'b']) trie.insert(filter, 1, filter);
    expect(matched(trie, 'a/b')).toEqual(['1:#', '1:a/#', '1:a/+', '1:a/b']);
  });

  it('compares filters byte by byte [MQTT5-3.10.4-1]', () => {
    const trie = newTrie();
    trie.insert('a/+', 1, 'x');
    expect(trie.remove('a/#', 1)).toBe(false);
    expect(trie.remove('a/', 1)).toBe(false);
    expect(trie.remove('a/+', 2)).toBe(false);
    expect(trie.remove('a/+', 1)).toBe(true);
    expect(trie.size).toBe(0);
    expect(matched(trie, 'a/b')).toEqual([]);
  });

  it('replaces a value with a new object, so that an old match result stays as it was', () => {
    for (const filter of ['a', '+']) {
      const trie = newTrie();
      trie.insert(filter, 1, 'old');
      const before = trie.match('a', []);
      expect(trie.insert(filter, 1, 'new')).toBe('old');
      expect(before).toEqual([{ key: 1, value: 'old' }]);
      expect(matched(trie, 'a')).toEqual(['1:new']);
      expect(trie.size).toBe(1);
    }
  });

  it('has another version after each change, and the same after none', () => {
    const trie = newTrie();
    const versions = [trie.version];
    trie.insert('a', 1, '');
    versions.push(trie.version);
    trie.insert('a', 1, '');
    versions.push(trie.version);
    trie.remove('a', 1);
    versions.push(trie.version);
    expect(new Set(versions).size).toBe(4);
    trie.remove('a', 1);
    trie.match('a', []);
    expect(trie.version).toBe(versions[3]);
  });

  it('serves many subscribers of one filter', () => {
    for (const filter of ['a/b', 'a/+']) {
      const trie = newTrie();
      for (let key = 0; key < 1000; key++) trie.insert(filter, key, '');
      expect(trie.match('a/b', []).length).toBe(1000);
      for (let key = 0; key < 999; key++) trie.remove(filter, key);
      expect(matched(trie, 'a/b')).toEqual(['999:']);
    }
  });
});
