const multiplier = 0x5bd1e995;

/** murmur2 as Kafka's clients compute it (`org.apache.kafka.common.utils.Utils.murmur2`): a signed 32-bit number. */
export function murmur2(bytes: Uint8Array): number {
  const { length } = bytes;
  const blocksEnd = length & ~3;
  let h = 0x9747b28c ^ length;
  for (let i = 0; i < blocksEnd; i += 4) {
    let k = byteAt(bytes, i) | (byteAt(bytes, i + 1) << 8);
    k |= (byteAt(bytes, i + 2) << 16) | (byteAt(bytes, i + 3) << 24);
    k = Math.imul(k, multiplier);
    k ^= k >>> 24;
    h = Math.imul(h, multiplier) ^ Math.imul(k, multiplier);
  }
  const rest = length - blocksEnd;
  if (rest === 3) h ^= byteAt(bytes, blocksEnd + 2) << 16;
  if (rest >= 2) h ^= byteAt(bytes, blocksEnd + 1) << 8;
  if (rest >= 1) h = Math.imul(h ^ byteAt(bytes, blocksEnd), multiplier);
  h = Math.imul(h ^ (h >>> 13), multiplier);
  return h ^ (h >>> 15);
}

/** Kafka's default partition of a key; a record without a key is in partition 0 (docs/design.md, 4). */
export function partitionOf(key: Uint8Array | string | null, partitions: number): number {
  if (key === null) return 0;
  const bytes = typeof key === 'string' ? Buffer.from(key) : key;
  return (murmur2(bytes) & 0x7fffffff) % partitions;
}

function byteAt(bytes: Uint8Array, index: number): number {
  return bytes[index] ?? 0;
}
