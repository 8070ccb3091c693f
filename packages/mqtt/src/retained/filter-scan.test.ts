import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { topicMatches } from '../codec/topic.ts';
import { FilterScan } from './filter-scan.ts';
import { NameList } from './name-list.ts';

const level = fc.constantFrom('', 'a', 'b', '$x', 'cc', 'a-', 'a0', 'a!');
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

/** What the filter matches, and how many names were looked at for it. */
function scan(list: NameList, wanted: string): { matches: string[]; looks: number } {
  const matches: string[] = [];
  const filterScan = new FilterScan(wanted);
  const walk = list.walk(filterScan.first);
  let looks = 0;
  for (;;) {
    const at = walk.name;
    if (at === undefined) break;
    looks++;
    const candidate = filterScan.candidate(at);
    if (candidate === undefined) break;
    if (candidate !== at) {
      expect(candidate > at, 'a search goes forward').toBe(true);
      walk.seek(candidate);
      continue;
    }
    matches.push(at);
    walk.next();
  }
  return { matches, looks };
}

describe('FilterScan', () => {
  it('finds what the specification says [MQTT5-4.7.1-1, -4.7.1-2, -4.7.2-1]', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(name, { maxLength: 40 }),
        fc.array(filter, { minLength: 1, maxLength: 10 }),
        (names, filters) => {
          const list = new NameList();
          for (const each of names) list.add(each);
          for (const wanted of filters) {
            const expected = names.filter((each) => topicMatches(wanted, each));
            const { matches } = scan(list, wanted);
            expect(matches, wanted).toEqual(expected.toSorted((a, b) => (a < b ? -1 : 1)));
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('looks at what matches, not at a million names', () => {
    const list = new NameList();
    for (let site = 0; site < 100; site++) {
      for (let device = 0; device < 100; device++) {
        for (let value = 0; value < 100; value++) list.add(`s${site}/d${device}/v${value}`);
      }
    }
    expect(list.size).toBe(1_000_000);
    const cost = (wanted: string): [matches: number, looks: number] => {
      const { matches, looks } = scan(list, wanted);
      return [matches.length, looks];
    };
    // Each with at most two looks for each level that a `+` stands for, and one behind the last match.
    const [devices, deviceLooks] = cost('s7/+/v42');
    expect(devices).toBe(100);
    expect(deviceLooks).toBeLessThanOrEqual(3 * 100 + 1);
    const [sites, siteLooks] = cost('+/d9/v9');
    expect(sites).toBe(100);
    expect(siteLooks).toBeLessThanOrEqual(3 * 100 + 1);
    const [all, allLooks] = cost('+/+/v9');
    expect(all).toBe(10_000);
    expect(allLooks).toBeLessThanOrEqual(3 * 10_000 + 3 * 100 + 1);
    const [below, belowLooks] = cost('s7/d7/#');
    expect(below).toBe(100);
    expect(belowLooks).toBeLessThanOrEqual(102);
    const [none, noLooks] = cost('s7/+/other');
    expect(none).toBe(0);
    expect(noLooks).toBeLessThanOrEqual(3 * 100 + 1);
    // What is below the last level that a `+` stands for is not looked at.
    const [shallow, shallowLooks] = cost('s7/+');
    expect(shallow).toBe(0);
    expect(shallowLooks).toBeLessThanOrEqual(100 + 1);
    expect(cost('x/#')[1]).toBeLessThanOrEqual(1);
    expect(cost('s7/d7/v7')).toEqual([1, 2]);
  }, 60_000);
});
