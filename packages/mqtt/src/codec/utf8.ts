import { isUtf8 } from 'node:buffer';

/** Strings up to this length are compared by a loop, which beats the call into native code. */
const loopBytesMax = 48;

/**
 * Whether the bytes are a UTF-8 Encoded String as MQTT wants it: well-formed, no surrogates, no
 * U+0000. Everything else Unicode has is allowed, the byte order mark too. [MQTT5-1.5.4-1..-3]
 */
export function isMqttText(bytes: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    const byte = bytes[i] ?? 0;
    if (byte === 0) return false;
    if (byte >= 0x80) return isWideMqttText(bytes, i, end);
  }
  return true;
}

/** {@link isMqttText} for a range with bytes above 0x7F; allocates a view. */
export function isWideMqttText(bytes: Buffer, start: number, end: number): boolean {
  const range = bytes.subarray(start, end);
  return isUtf8(range) && range.indexOf(0) < 0;
}

/** Whether bytes `startA` to `endA` of `bufferA` are those of the whole of `bufferB`. */
export function sameBytes(
  bufferA: Buffer,
  startA: number,
  endA: number,
  bufferB: Uint8Array,
): boolean {
  const length = endA - startA;
  if (length !== bufferB.length) return false;
  if (length > loopBytesMax) return bufferA.compare(bufferB, 0, length, startA, endA) === 0;
  for (let i = 0; i < length; i++) {
    if (bufferA[startA + i] !== bufferB[i]) return false;
  }
  return true;
}
