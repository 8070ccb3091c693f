import { promisify } from 'node:util';
import zlib from 'node:zlib';
import { limits, OperatingError, unreachable } from '@robustmq/core';
import lz4 from 'lz4-napi';
import snappy from 'snappy';
import type { CompressionCodec } from './codec.ts';
import { corruptBatch } from './corrupt-batch.ts';
import { lz4FrameDecodedBytes } from './lz4-frame.ts';
import { encodeXerial, snappyBlocks } from './snappy-xerial.ts';

/** Up to this much output the ratio is not looked at: a small batch may be all zeros. */
const RATIO_APPLIES_ABOVE_BYTES = 1024 * 1024;
/** Inputs above this are decompressed off the event loop by {@link decompressAsync}. */
export const DECOMPRESS_INLINE_BYTES_MAX = 64 * 1024;

const gunzip = promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.gunzip);
const zstdDecompress = promisify<Buffer, zlib.ZstdOptions, Buffer>(zlib.zstdDecompress);

/** Most bytes that an input of `inputBytes` may decode to. */
export function decompressedBytesMax(inputBytes: number): number {
  const byRatio = Math.max(RATIO_APPLIES_ABOVE_BYTES, inputBytes * limits.decompressionRatioMax);
  return Math.min(limits.decompressedBytesMax, byRatio);
}

/** Compresses on the calling thread. `none` returns a view of the input, the others a buffer of their own. */
export function compress(codec: CompressionCodec, plain: Buffer): Buffer {
  switch (codec) {
    case 'none':
      return plain;
    case 'gzip':
      return zlib.gzipSync(plain);
    case 'snappy':
      return encodeXerial(plain);
    case 'lz4':
      return lz4.compressFrameSync(plain);
    case 'zstd':
      return zlib.zstdCompressSync(plain);
    default:
      return unreachable(codec);
  }
}

/**
 * Decompresses on the calling thread. Throws CORRUPT_BATCH for broken input and BATCH_TOO_LARGE as soon as
 * the output passes {@link decompressedBytesMax}, which is known before or while decoding, never after.
 * `none` returns the input itself.
 */
export function decompress(codec: CompressionCodec, input: Buffer): Buffer {
  const maxOutputLength = decompressedBytesMax(input.length);
  switch (codec) {
    case 'none':
      return input;
    case 'gzip':
      return guard(() => zlib.gunzipSync(input, { maxOutputLength }), codec);
    case 'snappy':
      return joinBlocks(
        checkedSnappyBlocks(input).map((block) => guard(() => plainOf(block), codec)),
      );
    case 'lz4':
      checkOutput(lz4FrameDecodedBytes(input, maxOutputLength), input);
      return guard(() => lz4.decompressFrameSync(input), codec);
    case 'zstd':
      return guard(() => zlib.zstdDecompressSync(input, { maxOutputLength }), codec);
    default:
      return unreachable(codec);
  }
}

/**
 * As {@link decompress}, and inputs above 64 KiB leave the event loop. The input must not change until the
 * promise settles. The caller keeps the order of its batches.
 */
export async function decompressAsync(codec: CompressionCodec, input: Buffer): Promise<Buffer> {
  if (input.length <= DECOMPRESS_INLINE_BYTES_MAX) return decompress(codec, input);
  const maxOutputLength = decompressedBytesMax(input.length);
  switch (codec) {
    case 'none':
      return input;
    case 'gzip':
      return guardAsync(gunzip(input, { maxOutputLength }), codec);
    case 'snappy':
      return decompressSnappyAsync(input);
    case 'lz4':
      checkOutput(lz4FrameDecodedBytes(input, maxOutputLength), input);
      return guardAsync(lz4.decompressFrame(input), codec);
    case 'zstd':
      return guardAsync(zstdDecompress(input, { maxOutputLength }), codec);
    default:
      return unreachable(codec);
  }
}

async function decompressSnappyAsync(input: Buffer): Promise<Buffer> {
  const plain: Buffer[] = [];
  for (const block of checkedSnappyBlocks(input)) {
    const output = await guardAsync(snappy.uncompress(block, { asBuffer: true }), 'snappy');
    plain.push(asBuffer(output));
  }
  return joinBlocks(plain);
}

function checkedSnappyBlocks(input: Buffer): Buffer[] {
  const { blocks, decodedBytes } = snappyBlocks(input);
  checkOutput(decodedBytes, input);
  return blocks;
}

function plainOf(block: Buffer): Buffer {
  return asBuffer(snappy.uncompressSync(block, { asBuffer: true }));
}

function asBuffer(output: string | Buffer): Buffer {
  return typeof output === 'string' ? Buffer.from(output, 'latin1') : output;
}

function joinBlocks(blocks: Buffer[]): Buffer {
  const [first] = blocks;
  return blocks.length === 1 && first !== undefined ? first : Buffer.concat(blocks);
}

function checkOutput(decodedBytes: number, input: Buffer): void {
  if (decodedBytes > decompressedBytesMax(input.length)) throw outputTooLarge();
}

function guard(work: () => Buffer, codec: CompressionCodec): Buffer {
  try {
    return work();
  } catch (error) {
    throw toBatchError(error, codec);
  }
}

async function guardAsync<T>(work: Promise<T>, codec: CompressionCodec): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw toBatchError(error, codec);
  }
}

function toBatchError(error: unknown, codec: CompressionCodec): OperatingError {
  if (error instanceof OperatingError) return error;
  if (error instanceof Error && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE') {
    return outputTooLarge();
  }
  return corruptBatch(`${codec} cannot decode it (${String(error)})`);
}

function outputTooLarge(): OperatingError {
  return new OperatingError(
    'BATCH_TOO_LARGE',
    `a compressed batch decodes to more than ${limits.decompressionRatioMax} times its size ` +
      `or ${limits.decompressedBytesMax} bytes; send smaller batches`,
  );
}
