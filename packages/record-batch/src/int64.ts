const TWO_TO_32 = 4294967296;

/**
 * A big-endian signed 64-bit integer as a number. Outside ±(2^53 - 1) the result is rounded and never a
 * safe integer, so `Number.isSafeInteger` of it tells whether it can be used.
 */
export function readI64(buffer: Buffer, position: number): number {
  return buffer.readInt32BE(position) * TWO_TO_32 + buffer.readUInt32BE(position + 4);
}

/** Writes a safe integer as a big-endian signed 64-bit integer. */
export function writeI64(buffer: Buffer, position: number, value: number): void {
  const high = Math.floor(value / TWO_TO_32);
  buffer.writeInt32BE(high, position);
  buffer.writeUInt32BE(value - high * TWO_TO_32, position + 4);
}

/** A little-endian unsigned 64-bit integer; not a safe integer when it is above 2^53 - 1. */
export function readU64LittleEndian(buffer: Buffer, position: number): number {
  return buffer.readUInt32LE(position + 4) * TWO_TO_32 + buffer.readUInt32LE(position);
}

/** Writes a safe integer >= 0 as a little-endian unsigned 64-bit integer. */
export function writeU64LittleEndian(buffer: Buffer, position: number, value: number): void {
  const high = Math.floor(value / TWO_TO_32);
  buffer.writeUInt32LE(value - high * TWO_TO_32, position);
  buffer.writeUInt32LE(high, position + 4);
}
