/** Compression of a batch's records, in the order of its number in bits 0 to 2 of the attributes. */
export const compressionCodecs = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const;
export type CompressionCodec = (typeof compressionCodecs)[number];

const CODEC_BITS = 0x07;

/** `undefined` for a number that no codec has. */
export function codecOfAttributes(attributes: number): CompressionCodec | undefined {
  return compressionCodecs[attributes & CODEC_BITS];
}

export function codecNumber(codec: CompressionCodec): number {
  return compressionCodecs.indexOf(codec);
}
