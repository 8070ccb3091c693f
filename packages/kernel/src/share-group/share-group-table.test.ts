import { describe, expect, it } from 'vitest';
import { decodeShareEvent, encodeShareEvent, type ShareEvent } from './share-event.ts';
import { ShareGroupTable } from './share-group-table.ts';

const groupId = 'mqtt:g/a/#';
const far = 2 ** 50;

/** A table that the events have gone through as they stand in a log. */
function tableOf(events: readonly ShareEvent[]): ShareGroupTable {
  const table = new ShareGroupTable();
  for (const event of events) table.apply(decodeShareEvent(encodeShareEvent(event)));
  return table;
}

const history: readonly ShareEvent[] = [
  { kind: 'created', groupId, starts: [{ shardId: 4, offset: far }] },
  { kind: 'joined', groupId, key: 'c', epoch: 9 },
  { kind: 'joined', groupId, key: 'd', epoch: 3 },
  {
    kind: 'pinned',
    groupId,
    shardId: 4,
    pins: [
      { offset: far + 1, key: 'c' },
      { offset: far + 3, key: 'd' },
      { offset: far + 4, key: 'd' },
    ],
  },
  { kind: 'pinned', groupId, shardId: 7, pins: [{ offset: 2, key: 'd' }] },
  { kind: 'unpinned', groupId, shardId: 4, offsets: [far + 4] },
  {
    kind: 'progressed',
    groupId,
    shardId: 7,
    start: 1,
    settled: [{ from: 5, to: 9 }],
    attempts: new Map([[1, 2]]),
  },
];

describe('ShareGroupTable', () => {
  it('is a fold of the events', () => {
    const group = tableOf(history).get(groupId);
    expect(group?.members).toEqual(
      new Map([
        ['c', 9],
        ['d', 3],
      ]),
    );
    expect(group?.windows.get(4)).toMatchObject({
      start: far,
      settled: [],
      pins: new Map([
        [far + 1, 'c'],
        [far + 3, 'd'],
      ]),
    });
    expect(group?.windows.get(7)).toMatchObject({
      start: 1,
      settled: [{ from: 5, to: 9 }],
      attempts: new Map([[1, 2]]),
      pins: new Map([[2, 'd']]),
    });
  });

  it('[MQTT5-4.8.2-5] what is pinned to a member that leaves is settled', () => {
    const group = tableOf([...history, { kind: 'left', groupId, key: 'd' }]).get(groupId);
    expect([...(group?.members.keys() ?? [])]).toEqual(['c']);
    expect(group?.windows.get(4)).toMatchObject({
      settled: [{ from: far + 3, to: far + 4 }],
      pins: new Map([[far + 1, 'c']]),
    });
    expect(group?.windows.get(7)?.settled).toEqual([
      { from: 2, to: 3 },
      { from: 5, to: 9 },
    ]);
  });

  it('a pin that is settled is one no more', () => {
    const settled = [{ from: far + 1, to: far + 2 }];
    const progress = { kind: 'progressed', groupId, shardId: 4, attempts: new Map() } as const;
    const group = tableOf([...history, { ...progress, start: far, settled }]).get(groupId);
    expect(group?.windows.get(4)?.pins).toEqual(new Map([[far + 3, 'd']]));
    const later = tableOf([...history, { ...progress, start: far + 9, settled: [] }]).get(groupId);
    expect(later?.windows.get(4)?.pins.size).toBe(0);
  });

  it('is the same after a snapshot', () => {
    const table = tableOf(history);
    const restored = new ShareGroupTable();
    const chunks = table.snapshot();
    for (let step = chunks.next(); step.done !== true; step = chunks.next()) {
      restored.restoreChunk(step.value);
    }
    const plain = (one: ShareGroupTable): unknown => ({ ...one.get(groupId), snapshotMark: 0 });
    expect(plain(restored)).toEqual(plain(table));
    restored.apply({ kind: 'removed', groupId });
    expect(restored.size).toBe(0);
  });

  it('a record of a newer version is refused', () => {
    const bytes = encodeShareEvent({ kind: 'removed', groupId });
    bytes[0] = 99;
    expect(() => decodeShareEvent(bytes)).toThrow('newer version');
    expect(() => decodeShareEvent(bytes.subarray(0, 4))).toThrow('end in the middle');
  });
});
