/** Up to this many bytes a loop is faster than a call into the engine (three times at 11 bytes). */
const LOOP_BYTES_MAX = 24;

/** Copies the first `length` bytes of `source` to `target` at `position` and returns the position after. */
export function copyBytes(
  target: Buffer,
  position: number,
  source: Uint8Array,
  length: number,
): number {
  if (length > LOOP_BYTES_MAX) {
    target.set(source.length === length ? source : source.subarray(0, length), position);
  } else {
    for (let index = 0; index < length; index++) target[position + index] = source[index] as number;
  }
  return position + length;
}
