import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { topicMatches } from '../codec/topic.ts';
import { NameTrie } from './name-trie.ts';

const level = fc.constantFrom('', 'a', 'b', '$x', 'cc');
const name = fc
  .array(level, { minLength: 1, maxLength: 4 })
  .map((levels) => levels.join('/'))
  .filter((text) => text !== '');
const filter = fc
  .tuple(
    fc.array(fc.oneof(level, fc.constant('+')), { maxLength: 4 }),
    fc.constantFrom([], ['#'] as string[]),
  )
  .map(([levels, end]) => [...levels, ...end].join('/'))
  .filter((text) => text !== '');

function matches(trie: NameTrie<string>, wanted: string): string[] {
  const found: string[] = [];
  trie.match(wanted, (value) => found.push(value));
  return found.sort((a, b) => (a < b ? -1 : 1));
}

describe('NameTrie', () => {
  it('finds what the specification says, and what was deleted no more', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(name, { maxLength: 30 }),
        fc.array(name, { maxLength: 10 }),
        fc.array(filter, { minLength: 1, maxLength: 10 }),
        (names, deleted, filters) => {
          const trie = new NameTrie<string>();
          for (const each of names) trie.set(each, each);
          for (const each of deleted) trie.delete(each);
          const left = names.filter((each) => !deleted.includes(each));
          for (const wanted of filters) {
            const expected = left.filter((each) => topicMatches(wanted, each));
            expect(matches(trie, wanted)).toEqual(expected.sort((a, b) => (a < b ? -1 : 1)));
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it('replaces a value', () => {
    const trie = new NameTrie<string>();
    trie.set('a/b', 'old');
    trie.set('a/b', 'new');
    expect(matches(trie, 'a/+')).toEqual(['new']);
  });
});
