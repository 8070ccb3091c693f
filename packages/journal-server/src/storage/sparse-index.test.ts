import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { INDEX_INTERVAL_BYTES, SparseIndex } from './sparse-index.ts';

/** Frames of a file; those without records are producer snapshots. */
const frames = fc.array(
  fc.record({
    records: fc.integer({ min: 0, max: 4 }),
    bytes: fc.integer({ min: 1, max: 2 * INDEX_INTERVAL_BYTES }),
    timestampMs: fc.integer({ min: 0, max: 50 }),
  }),
  { minLength: 1, maxLength: 60 },
);

it('leads to the frame that a scan finds, by record and by time', () => {
  fc.assert(
    fc.property(frames, (shapes) => {
      const sparse = new SparseIndex();
      let index = 0;
      let position = 0;
      const placed = shapes.map(({ records, bytes, timestampMs }) => {
        const frame = { index, position, records, timestampMs };
        sparse.add(index, position, timestampMs);
        index += records;
        position += bytes;
        return frame;
      });
      for (let record = 0; record < index; record++) {
        const wanted = placed.find((frame) => frame.index + frame.records > record);
        const entry = sparse.entryBefore(record);
        expect(sparse.positionAt(entry)).toBeLessThanOrEqual(wanted?.position ?? -1);
        expect(sparse.indexAt(entry)).toBeLessThanOrEqual(record);
      }
      for (let timestampMs = 0; timestampMs <= 51; timestampMs++) {
        const first = placed.find((frame) => frame.timestampMs >= timestampMs);
        const entry = sparse.entryByTime(timestampMs);
        expect(entry === -1).toBe(first === undefined);
        if (first === undefined) continue;
        expect(sparse.positionAt(entry)).toBeLessThanOrEqual(first.position);
        const next = entry + 1 < sparse.entries ? sparse.positionAt(entry + 1) : position;
        expect(first.position).toBeLessThan(next);
      }
    }),
  );
});

it('has one entry for many small frames', () => {
  const sparse = new SparseIndex();
  for (let at = 0; at < 1_000; at++) sparse.add(at, at * 100, at);
  expect(sparse.entries).toBe(Math.ceil(100_000 / (Math.ceil(INDEX_INTERVAL_BYTES / 100) * 100)));
});
