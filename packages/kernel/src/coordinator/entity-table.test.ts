import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { entitiesOf, type Entity, EntityTable } from './entity-table.ts';

interface Cell extends Entity {
  value: number;
  pad: string;
}

const cell = (value: number, pad = ''): Cell => ({ value, pad, snapshotMark: 0 });

function newTable(): EntityTable<string, Cell> {
  return new EntityTable((key, { value, pad }) => Buffer.from(JSON.stringify([key, value, pad])));
}

function contentOf(table: EntityTable<string, Cell>): Record<string, number> {
  return Object.fromEntries([...table.entries()].map(([key, { value }]) => [key, value]));
}

/** Takes chunk after chunk; calls `between` after each. */
function contentOfSnapshot(
  chunks: Iterator<Buffer>,
  between: () => void = () => {},
): Record<string, number> {
  const content: Record<string, number> = {};
  for (let step = chunks.next(); step.done !== true; step = chunks.next()) {
    for (const bytes of entitiesOf(step.value)) {
      const [key, value] = JSON.parse(bytes.toString()) as [string, number];
      expect(content).not.toHaveProperty(key);
      content[key] = value;
    }
    between();
  }
  return content;
}

const change = fc.record({
  kind: fc.constantFrom('edit', 'set', 'delete'),
  key: fc.nat(11).map(String),
  value: fc.nat(1000),
});

describe('EntityTable', () => {
  it('shows the moment at which a snapshot began, each entity once', () => {
    // 40 KiB each: two entities in a chunk.
    const pad = 'x'.repeat(40 * 1024);
    fc.assert(
      fc.property(fc.array(fc.array(change, { maxLength: 6 }), { maxLength: 12 }), (rounds) => {
        const table = newTable();
        for (let i = 0; i < 9; i++) table.set(`${i}`, cell(i, pad));
        contentOfSnapshot(table.snapshot());
        const before = contentOf(table);
        let round = 0;
        const snapshot = contentOfSnapshot(table.snapshot(), () => {
          for (const { kind, key, value } of rounds[round++] ?? []) {
            if (kind === 'delete') table.delete(key);
            else if (kind === 'set') table.set(key, cell(value, pad));
            else {
              const edited = table.edit(key);
              if (edited !== undefined) edited.value = value;
            }
          }
        });
        expect(snapshot).toEqual(before);
      }),
      { numRuns: 80 },
    );
  });

  it('is a map', () => {
    const table = newTable();
    table.set('a', cell(1));
    expect(table.get('a')?.value).toBe(1);
    expect(table.has('b')).toBe(false);
    expect(table.edit('b')).toBeUndefined();
    expect(table.delete('b')).toBe(false);
    expect(table.delete('a')).toBe(true);
    expect(table.size).toBe(0);
    expect(contentOfSnapshot(table.snapshot())).toEqual({});
  });
});
