import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { encodePublish } from './control-packets.ts';
import { PacketScanner } from './packet-scanner.ts';

function scannerInto(packets: string[], bytesMax = 1024): PacketScanner {
  return new PacketScanner(
    {
      packet(header, bytes, start, end) {
        packets.push(`${header.toString(16)} ${bytes.subarray(start, end).toString('hex')}`);
      },
    },
    bytesMax,
  );
}

describe('the packet scanner', () => {
  it('finds the same packets however the stream is cut', () => {
    const sizes = [0, 1, 100, 126, 127, 200, 500];
    const stream = Buffer.concat([
      Buffer.from([0xd0, 0]),
      ...sizes.map((size) => encodePublish('a/b', 1, 7, Buffer.alloc(size, size))),
    ]);
    const whole: string[] = [];
    scannerInto(whole).scan(stream, stream.length);
    expect(whole).toHaveLength(1 + sizes.length);
    const cuts = fc.array(fc.integer({ min: 1, max: stream.length - 1 }), { maxLength: 40 });
    fc.assert(
      fc.property(cuts, (unsorted) => {
        const packets: string[] = [];
        const scanner = scannerInto(packets);
        const bounds = [0, ...unsorted.sort((a, b) => a - b), stream.length];
        for (const [index, end] of bounds.entries()) {
          const chunk = Buffer.from(stream.subarray(bounds[index - 1] ?? 0, end));
          scanner.scan(chunk, chunk.length);
        }
        expect(packets).toEqual(whole);
      }),
      { numRuns: 200 },
    );
  });

  it('takes a stream byte by byte', () => {
    const packet = encodePublish('t', 0, 0, Buffer.alloc(300, 1));
    const packets: string[] = [];
    const scanner = scannerInto(packets);
    for (const byte of packet) scanner.scan(Buffer.from([byte]), 1);
    expect(packets).toHaveLength(1);
  });

  it('refuses a length of five bytes and a packet above its limit', () => {
    const long = Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0x01]);
    expect(() => scannerInto([]).scan(long, long.length)).toThrow(/four bytes/);
    const large = encodePublish('t', 0, 0, Buffer.alloc(200)).subarray(0, 150);
    expect(() => scannerInto([], 100).scan(large, large.length)).toThrow(/above 100 bytes/);
  });
});
