import type { MqttPosition } from '@robustmq/rpc';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RetainedEntry } from './retained-entry.ts';
import { RetainedPages } from './retained-pages.ts';

function entry(shardId: number, offset: number, bytes: number): RetainedEntry {
  const encoded = Buffer.alloc(bytes);
  return { snapshotMark: 0, topic: '', shardId, offset, expiresAtMs: Infinity, encoded };
}

describe('RetainedPages', () => {
  it('give every match once and in order, remembered or not', () => {
    const position = fc.record({ shardId: fc.nat(3), offset: fc.nat(50) });
    const key = ({ shardId, offset }: MqttPosition): string => `${shardId}/${offset}`;
    fc.assert(
      fc.property(
        fc.uniqueArray(position, { selector: key, maxLength: 40 }),
        fc.infiniteStream(fc.boolean()),
        (positions, forgets) => {
          const pages = new RetainedPages();
          const matches = positions.map(({ shardId, offset }) => entry(shardId, offset, 60_000));
          const byBytes = new Map(matches.map((match) => [match.encoded, match]));
          const given: MqttPosition[] = [];
          for (;;) {
            const page = pages.page('l', given.at(-1), () => [...matches]);
            for (const encoded of page.messages) given.push(byBytes.get(encoded) ?? entry(9, 9, 1));
            if (!page.more) break;
            expect(page.messages.length).toBeGreaterThan(0);
            if (forgets.next().value === true) pages.clear();
          }
          const order = (a: MqttPosition, b: MqttPosition): number =>
            a.shardId - b.shardId || a.offset - b.offset;
          expect(given.map(key)).toEqual(positions.toSorted(order).map(key));
        },
      ),
      { numRuns: 100 },
    );
  });

  it('have one message at least, however large', () => {
    const matches = [entry(1, 1, 3_000_000), entry(1, 2, 10)];
    const page = new RetainedPages().page('l', undefined, () => matches);
    expect(page.messages).toHaveLength(1);
    expect(page.more).toBe(true);
  });
});
