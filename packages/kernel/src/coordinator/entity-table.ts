import { assert } from '@robustmq/core';

/** What a value of an {@link EntityTable} has: the number of the last snapshot it was written to. */
export interface Entity {
  /** Owned by the table; 0 in a new value. */
  snapshotMark: number;
}

const chunkBytes = 64 * 1024;
const lengthBytes = 4;

/**
 * A map that a state machine keeps its state in, with snapshots as of one moment although it changes
 * while they are taken: a value that is about to change and was not written yet is encoded first.
 *
 * Change values only after {@link EntityTable.edit}, and between two calls of the runtime.
 */
export class EntityTable<Key, Value extends Entity> {
  readonly #values = new Map<Key, Value>();
  readonly #encode: (key: Key, value: Value) => Buffer;
  /** Values as they were when the running snapshot began, encoded because they have changed since. */
  #displaced: Buffer[] = [];
  /** Number of the last snapshot. */
  #snapshot = 1;
  #isRunning = false;

  /** `encode` returns a buffer that nobody changes afterwards. */
  constructor(encode: (key: Key, value: Value) => Buffer) {
    this.#encode = encode;
  }

  get size(): number {
    return this.#values.size;
  }

  /** For reading only. */
  get(key: Key): Readonly<Value> | undefined {
    return this.#values.get(key);
  }

  has(key: Key): boolean {
    return this.#values.has(key);
  }

  /** For reading only. */
  entries(): IterableIterator<[Key, Readonly<Value>]> {
    return this.#values.entries();
  }

  /** The value, to be changed now. */
  edit(key: Key): Value | undefined {
    const value = this.#values.get(key);
    if (value !== undefined) this.#keepOld(key, value);
    return value;
  }

  /** Adds a value or replaces the one of that key. */
  set(key: Key, value: Value): void {
    const before = this.#values.get(key);
    if (before !== undefined) this.#keepOld(key, before);
    value.snapshotMark = this.#snapshot;
    this.#values.set(key, value);
  }

  delete(key: Key): boolean {
    const value = this.#values.get(key);
    if (value === undefined) return false;
    this.#keepOld(key, value);
    return this.#values.delete(key);
  }

  /** The table as it is now, in chunks that {@link entitiesOf} takes apart. Ends a snapshot that still runs. */
  snapshot(): Iterator<Buffer> {
    this.#snapshot++;
    this.#isRunning = true;
    this.#displaced = [];
    return this.#chunks(this.#snapshot);
  }

  #keepOld(key: Key, value: Value): void {
    if (!this.#isRunning || value.snapshotMark === this.#snapshot) return;
    value.snapshotMark = this.#snapshot;
    this.#displaced.push(this.#encode(key, value));
  }

  *#chunks(snapshot: number): Generator<Buffer, undefined> {
    const walk = this.#values.entries();
    let pieces: Buffer[] = [];
    let bytes = 0;
    for (;;) {
      assert(this.#snapshot === snapshot, 'one snapshot of a table at a time');
      const piece = this.#displaced.pop() ?? this.#nextPiece(walk, snapshot);
      if (piece === undefined) break;
      pieces.push(piece);
      bytes += piece.length + lengthBytes;
      if (bytes < chunkBytes) continue;
      yield joined(pieces, bytes);
      pieces = [];
      bytes = 0;
    }
    this.#isRunning = false;
    if (bytes > 0) yield joined(pieces, bytes);
    return undefined;
  }

  #nextPiece(walk: Iterator<[Key, Value]>, snapshot: number): Buffer | undefined {
    for (let step = walk.next(); step.done !== true; step = walk.next()) {
      const [key, value] = step.value;
      if (value.snapshotMark === snapshot) continue;
      value.snapshotMark = snapshot;
      return this.#encode(key, value);
    }
    return undefined;
  }
}

/** The encoded values in a chunk of a table's snapshot, as views. */
export function* entitiesOf(chunk: Buffer): Generator<Buffer, undefined> {
  for (let at = 0; at < chunk.length;) {
    const start = at + lengthBytes;
    at = start + chunk.readUInt32BE(at);
    yield chunk.subarray(start, at);
  }
  return undefined;
}

function joined(pieces: readonly Buffer[], bytes: number): Buffer {
  const chunk = Buffer.allocUnsafeSlow(bytes);
  let at = 0;
  for (const piece of pieces) {
    at = chunk.writeUInt32BE(piece.length, at);
    at += piece.copy(chunk, at);
  }
  return chunk;
}
