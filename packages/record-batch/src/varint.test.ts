import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VarintReader, varintSize, varlongSize, writeVarint, writeVarlong } from './varint.ts';

const room = Buffer.alloc(16);

function reading(hex: string): VarintReader {
  return new VarintReader(Buffer.from(hex, 'hex'));
}

describe('varint', () => {
  it.each([
    [0, '00'],
    [-1, '01'],
    [1, '02'],
    [63, '7e'],
    [-64, '7f'],
    [64, '8001'],
    [8191, 'fe7f'],
    [2147483647, 'feffffff0f'],
    [-2147483648, 'ffffffff0f'],
  ])('writes %d as Kafka does', (value, hex) => {
    const end = writeVarint(room, 0, value);
    expect(room.toString('hex', 0, end)).toBe(hex);
    expect(varintSize(value)).toBe(end);
    expect(reading(hex).varint()).toBe(value);
  });

  it('reads back every i32, in the size it announces', () => {
    const property = fc.property(fc.integer(), (value) => {
      const end = writeVarint(room, 0, value);
      const reader = new VarintReader(room);
      expect([reader.varint(), reader.position]).toEqual([value, end]);
      expect(varintSize(value)).toBe(end);
    });
    fc.assert(property, { numRuns: 500 });
  });

  it.each(['', '80', 'ffffffff', 'ffffffff10', 'ffffffffff01'])('refuses %s', (hex) => {
    expect(() => reading(hex).varint()).toThrow(/corrupt/);
  });
});

describe('varlong', () => {
  it.each([
    [1700000000000, '80a0abfef962'],
    [Number.MAX_SAFE_INTEGER, 'feffffffffffff1f'],
    [Number.MIN_SAFE_INTEGER, 'fdffffffffffff1f'],
  ])('writes %d as Kafka does', (value, hex) => {
    const end = writeVarlong(room, 0, value);
    expect(room.toString('hex', 0, end)).toBe(hex);
    expect(reading(hex).varlong()).toBe(value);
  });

  it('reads back every safe integer, in the size it announces', () => {
    const property = fc.property(fc.maxSafeInteger(), (value) => {
      const end = writeVarlong(room, 0, value);
      const reader = new VarintReader(room);
      expect([reader.varlong(), reader.position]).toEqual([value, end]);
      expect(varlongSize(value)).toBe(end);
    });
    fc.assert(property, { numRuns: 500 });
  });

  it.each([
    ['cut off', 'ffffffff'],
    ['2^53', '8080808080808020'],
    ['the largest i64', 'feffffffffffffffff01'],
    ['the smallest i64', 'ffffffffffffffffff01'],
    ['66 bits', 'ffffffffffffffffff07'],
    ['eleven bytes', '8080808080808080808001'],
  ])('refuses %s', (_name, hex) => {
    expect(() => reading(hex).varlong()).toThrow(/corrupt/);
  });

  it('takes longer encodings than needed, as Java does', () => {
    expect(reading('8000').varint()).toBe(0);
    expect(reading('80808080808080808000').varlong()).toBe(0);
  });
});
