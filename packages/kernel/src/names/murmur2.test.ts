import { describe, expect, it } from 'vitest';
import { murmur2, partitionOf } from './murmur2.ts';

describe('murmur2', () => {
  // From org.apache.kafka.common.utils.UtilsTest.testMurmur2.
  const golden: readonly [text: string, hash: number][] = [
    ['21', -973932308],
    ['foobar', -790332482],
    ['a-little-bit-long-string', -985981536],
    ['a-little-bit-longer-string', -1486304829],
    ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
    ['abc', 479470107],
  ];

  it.each(golden)("hashes %j as Kafka's own test", (text, hash) => {
    expect(murmur2(Buffer.from(text))).toBe(hash);
  });

  // From librdkafka's ut_murmur2.
  const librdkafka: readonly [text: string, hash: number][] = [
    ['1234', 0x9fc97b14 | 0],
    ['', 0x106e08d9],
  ];

  it.each(librdkafka)("hashes %j as librdkafka's own test", (text, hash) => {
    expect(murmur2(Buffer.from(text))).toBe(hash);
  });

  it('reads bytes above 0x7f as unsigned', () => {
    // Kafka's Java code masks with 0xff: 0xff must not spread its sign over the block.
    expect(murmur2(Buffer.from([0xff, 0, 0, 0]))).not.toBe(
      murmur2(Buffer.from([0xff, 0xff, 0xff, 0xff])),
    );
  });
});

describe('partitionOf', () => {
  it('is 0 without a key', () => {
    expect(partitionOf(null, 16)).toBe(0);
  });

  it('hashes the empty key, which is not no key', () => {
    expect(partitionOf('', 16)).toBe(275646681 % 16);
  });

  it('clears the sign bit', () => {
    expect(partitionOf('foobar', 7)).toBe((-790332482 & 0x7fffffff) % 7);
  });

  it('is the same for text and its UTF-8', () => {
    expect(partitionOf('söd', 1000)).toBe(partitionOf(Buffer.from('söd'), 1000));
  });
});
