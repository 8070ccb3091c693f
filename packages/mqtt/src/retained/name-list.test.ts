import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { NameList } from './name-list.ts';

function namesOf(list: NameList, from = ''): string[] {
  const names: string[] = [];
  for (const walk = list.walk(from); walk.name !== undefined; walk.next()) names.push(walk.name);
  return names;
}

const byCodeUnits = (a: string, b: string): number => (a < b ? -1 : 1);

describe('NameList', () => {
  it('is a sorted set, whatever is added and removed', () => {
    const name = fc.integer({ min: 0, max: 3000 }).map((number) => `n/${number}`);
    const change = fc.tuple(fc.boolean(), fc.array(name, { maxLength: 900 }));
    fc.assert(
      fc.property(fc.array(change, { maxLength: 8 }), name, (changes, from) => {
        const list = new NameList();
        const model = new Set<string>();
        for (const [adds, names] of changes) {
          for (const each of names) {
            if (adds) list.add(each);
            else list.delete(each);
            if (adds) model.add(each);
            else model.delete(each);
          }
        }
        const sorted = [...model].toSorted(byCodeUnits);
        expect(list.size).toBe(sorted.length);
        expect(namesOf(list)).toEqual(sorted);
        expect(namesOf(list, from)).toEqual(sorted.filter((each) => each >= from));
      }),
      { numRuns: 60 },
    );
  });

  it('finds the first name at or behind any other', () => {
    const list = new NameList();
    for (let number = 0; number < 2000; number++) list.add(String(number * 2).padStart(5, '0'));
    const walk = list.walk('');
    for (const [from, found] of [
      ['01001', '01002'],
      ['01002', '01002'],
      ['', '00000'],
      ['03998', '03998'],
      ['03999', undefined],
    ] as const) {
      walk.seek(from);
      expect(walk.name, from).toBe(found);
    }
  });

  it('has no name when it is empty', () => {
    const list = new NameList();
    list.add('a');
    list.delete('a');
    list.delete('a');
    expect(list.size).toBe(0);
    expect(list.walk('').name).toBeUndefined();
  });
});
