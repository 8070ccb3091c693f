import { describe, expect, it } from 'vitest';
import { limits, type OperatingError } from '@robustmq/core';
import { type CompressionCodec, compressionCodecs } from './codec.ts';
import { compress, decompress, decompressAsync, decompressedBytesMax } from './compression.ts';

const MIB = 1024 * 1024;
const codecs = compressionCodecs.filter((codec) => codec !== 'none');

/** Bytes that no codec makes smaller. */
function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = 1;
  for (let at = 0; at < length; at++) bytes[at] = (state = (state * 48271) % 0x7fffffff) >> 8;
  return bytes;
}

/** The bytes or the error: the same on this thread and off it. */
async function outcome(codec: CompressionCodec, input: Buffer): Promise<unknown> {
  let sync: unknown;
  try {
    sync = decompress(codec, input);
  } catch (error) {
    sync = error;
  }
  const other: unknown = await decompressAsync(codec, input).catch((error: unknown) => error);
  expect(other).toEqual(sync);
  return sync;
}

describe.each(codecs)('%s', (codec) => {
  it.each([0, 1, 1000, 40_000, 300_000])('gives back %d bytes, both ways', async (length) => {
    const plain = noise(length);
    const input = compress(codec, plain);
    expect(decompress(codec, input).equals(plain)).toBe(true);
    expect((await decompressAsync(codec, input)).equals(plain)).toBe(true);
  });

  it('takes a small batch however well it is compressed', () => {
    expect(decompress(codec, compress(codec, Buffer.alloc(1000))).length).toBe(1000);
    expect(decompress(codec, compress(codec, Buffer.alloc(MIB))).length).toBe(MIB);
  });

  it('stops at 16 times the input above 1 MiB', async () => {
    const input = compress(codec, Buffer.alloc(6 * MIB));
    expect(input.length * limits.decompressionRatioMax).toBeLessThan(6 * MIB);
    expect(await outcome(codec, input)).toMatchObject({ code: 'BATCH_TOO_LARGE' });
  });

  it('stops at 32 MiB', async () => {
    const plain = Buffer.concat([noise(3 * MIB), Buffer.alloc(30 * MIB)]);
    const input = compress(codec, plain);
    expect(decompressedBytesMax(input.length)).toBe(32 * MIB);
    expect(await outcome(codec, input)).toMatchObject({ code: 'BATCH_TOO_LARGE' });
  });

  it('refuses every truncation', async () => {
    const input = compress(codec, noise(300));
    for (let end = 0; end < input.length; end++) {
      // An empty xerial stream is a stream of no blocks, and a whole one for nothing.
      if (codec === 'snappy' && end === 16) continue;
      expect(await outcome(codec, input.subarray(0, end))).toMatchObject({ code: 'CORRUPT_BATCH' });
    }
  });

  it('gives bytes or refuses after every flipped bit', async () => {
    const input = compress(codec, Buffer.from('the same words, the same words, the same words'));
    for (let bit = 0; bit < input.length * 8; bit++) {
      const flipped = Buffer.from(input);
      flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      const result = await outcome(codec, flipped);
      if (result instanceof Buffer) continue;
      expect(['CORRUPT_BATCH', 'BATCH_TOO_LARGE']).toContain((result as OperatingError).code);
    }
  });

  it('refuses noise', async () => {
    expect(await outcome(codec, noise(500))).toMatchObject({ code: 'CORRUPT_BATCH' });
    expect(await outcome(codec, noise(70_000))).toMatchObject({ code: 'CORRUPT_BATCH' });
  });
});

describe('none', () => {
  it('is the input itself', async () => {
    const input = noise(10);
    expect(compress('none', input)).toBe(input);
    expect(decompress('none', input)).toBe(input);
    expect(await decompressAsync('none', input)).toBe(input);
  });
});

describe('declared lengths', () => {
  it('are refused before anything is allocated for them: snappy', async () => {
    const input = Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]);
    expect(await outcome('snappy', input)).toMatchObject({ code: 'BATCH_TOO_LARGE' });
    const header = compress('snappy', Buffer.alloc(0));
    const framed = Buffer.concat([header, Buffer.from([0x7f, 0xff, 0xff, 0xff, 0])]);
    expect(await outcome('snappy', framed)).toMatchObject({ code: 'CORRUPT_BATCH' });
  });

  it('are refused before anything is allocated for them: lz4', async () => {
    const frame = compress('lz4', noise(100));
    frame.writeUInt32LE(0x7fffffff, 7);
    expect(await outcome('lz4', frame)).toMatchObject({ code: 'CORRUPT_BATCH' });
  });

  it('lz4: a byte behind the frame, a second frame and a dictionary are refused', async () => {
    const frame = compress('lz4', noise(100));
    const byte = Buffer.concat([frame, Buffer.from([0])]);
    expect(await outcome('lz4', byte)).toMatchObject({ code: 'CORRUPT_BATCH' });
    const twice = Buffer.concat([frame, frame]);
    expect(await outcome('lz4', twice)).toMatchObject({ code: 'CORRUPT_BATCH' });
    frame.writeUInt8(frame.readUInt8(4) | 1, 4);
    expect(await outcome('lz4', frame)).toMatchObject({ code: 'CORRUPT_BATCH' });
  });
});
