import { ownBytes } from './encoded-message.ts';

/** First byte of a chunk is its kind, the second says whether the next chunk continues it. */
const prefixBytes = 2;
const whole = 0;
const continued = 1;
const fragmentBytes = 512 * 1024;

/** `bytes` as chunks of a snapshot: one, or several when they are large. `kind` is a byte. */
export function* snapshotChunks(kind: number, bytes: Buffer): Generator<Buffer, undefined> {
  let at = 0;
  do {
    const end = Math.min(bytes.length, at + fragmentBytes);
    const chunk = Buffer.allocUnsafeSlow(prefixBytes + end - at);
    chunk[0] = kind;
    chunk[1] = end < bytes.length ? continued : whole;
    bytes.copy(chunk, prefixBytes, at, end);
    yield chunk;
    at = end;
  } while (at < bytes.length);
  return undefined;
}

/** Puts the chunks together again. */
export class SnapshotJoiner {
  #fragments: Buffer[] = [];

  /** Undefined while more is to come. What is returned may be a view of `chunk`. */
  join(chunk: Buffer): { readonly kind: number; readonly bytes: Buffer } | undefined {
    const body = chunk.subarray(prefixBytes);
    if (chunk[1] === continued) {
      this.#fragments.push(ownBytes(body));
      return undefined;
    }
    const bytes = this.#fragments.length === 0 ? body : Buffer.concat([...this.#fragments, body]);
    this.#fragments = [];
    return { kind: chunk[0] ?? -1, bytes };
  }
}

/** Everything that `chunks` yields, each as chunks of a snapshot. */
export function* snapshotChunksOf(
  kind: number,
  chunks: Iterator<Buffer>,
): Generator<Buffer, undefined> {
  for (let step = chunks.next(); step.done !== true; step = chunks.next()) {
    yield* snapshotChunks(kind, step.value);
  }
  return undefined;
}
