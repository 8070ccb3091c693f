/** Receives whole packets. `bytes` is valid during the call only. */
export interface PacketSink {
  /** `header` is the first byte; the body lies in `bytes` from `start` to `end`. */
  packet(header: number, bytes: Buffer, start: number, end: number): void;
}

/** Cuts a stream of chunks into MQTT packets without allocating: only a packet that two chunks share is copied. */
export class PacketScanner {
  readonly #sink: PacketSink;
  /** The beginning of a packet whose rest has not come. */
  readonly #carry: Buffer;
  #carried = 0;
  /** Of the packet that {@link #findEnd} looked at last. */
  #bodyStart = 0;

  constructor(sink: PacketSink, packetBytesMax: number) {
    this.#sink = sink;
    this.#carry = Buffer.alloc(packetBytesMax);
  }

  /** Takes the first `length` bytes of `chunk`, which the caller may use again afterwards. Throws on a packet above the limit. */
  scan(chunk: Buffer, length: number): void {
    let at = this.#carried > 0 ? this.#finishCarried(chunk, length) : 0;
    while (at < length) {
      const end = this.#findEnd(chunk, at, length);
      if (end < 0 || end > length) break;
      this.#sink.packet(chunk[at] ?? 0, chunk, this.#bodyStart, end);
      at = end;
    }
    if (at < length) this.#carryOn(chunk, at, length);
  }

  /** Where the chunk's own packets begin. */
  #finishCarried(chunk: Buffer, length: number): number {
    const before = this.#carried;
    const filled = before + chunk.copy(this.#carry, before, 0, length);
    const end = this.#findEnd(this.#carry, 0, filled);
    if (end < 0 || end > filled) {
      if (filled - before < length) throw tooLarge(this.#carry.length);
      this.#carried = filled;
      return length;
    }
    this.#carried = 0;
    this.#sink.packet(this.#carry[0] ?? 0, this.#carry, this.#bodyStart, end);
    return end - before;
  }

  #carryOn(chunk: Buffer, at: number, length: number): void {
    if (length - at > this.#carry.length) throw tooLarge(this.#carry.length);
    this.#carried = chunk.copy(this.#carry, 0, at, length);
  }

  /** Where the packet at `at` ends, perhaps beyond `limit`; -1 when its length is not there yet. */
  #findEnd(bytes: Buffer, at: number, limit: number): number {
    let remaining = 0;
    let next = at + 1;
    for (let shift = 0; shift <= 21; shift += 7) {
      if (next >= limit) return -1;
      const byte = bytes[next++] ?? 0;
      remaining |= (byte & 0x7f) << shift;
      if (byte < 0x80) {
        this.#bodyStart = next;
        return next + remaining;
      }
    }
    throw new Error('the server sent a packet length of more than four bytes');
  }
}

function tooLarge(bytesMax: number): Error {
  return new Error(`the server sent a packet above ${bytesMax} bytes`);
}
