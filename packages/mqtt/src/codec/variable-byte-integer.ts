/** Largest value of a variable byte integer (four bytes). [MQTT5 section 1.5.5] */
export const variableByteIntegerMax = 268_435_455;

/** Bytes that `value` takes, 1 to 4. */
export function variableByteIntegerSize(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  return value < 0x200000 ? 3 : 4;
}

/** {@link readVariableByteInteger}: the bytes end before the integer does. */
export const integerCutOff = -1;
/** {@link readVariableByteInteger}: longer than four bytes, or than the value needs. [MQTT5-1.5.5-1] */
export const integerMalformed = -2;

/**
 * The value at `start`, not reading at or after `end`; {@link integerCutOff} or
 * {@link integerMalformed}. Its length is {@link variableByteIntegerSize}, since only minimal ones pass.
 */
export function readVariableByteInteger(bytes: Uint8Array, start: number, end: number): number {
  let value = 0;
  for (let i = 0; i < 4; i++) {
    if (start + i >= end) return integerCutOff;
    const byte = bytes[start + i] ?? 0;
    value |= (byte & 0x7f) << (7 * i);
    if (byte < 0x80) return byte === 0 && i > 0 ? integerMalformed : value;
  }
  return integerMalformed;
}
