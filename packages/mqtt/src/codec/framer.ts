import { type ProtocolVersion, PacketType } from './packet.ts';
import { fault, malformed, type ProtocolFault } from './protocol-fault.ts';
import { ReasonCode } from './reason-code.ts';
import {
  integerCutOff,
  integerMalformed,
  readVariableByteInteger,
  variableByteIntegerSize,
} from './variable-byte-integer.ts';

/** One whole control packet as positions in `buffer`. Reused for the next one. */
export interface Frame {
  /** The socket's chunk, or a buffer of the packet's own. The framer never writes to it again. */
  readonly buffer: Buffer;
  readonly firstByte: number;
  /** Of the fixed header. */
  readonly start: number;
  /** First byte behind the fixed header. */
  readonly bodyStart: number;
  readonly end: number;
}

/** Takes the frames, in order. */
export interface FrameSink {
  /** False stops: what follows waits for {@link PacketFramer.resume}. */
  onFrame(frame: Frame): boolean;
}

type MutableFrame = { -readonly [K in keyof Frame]: Frame[K] };

const noBytes = Buffer.alloc(0);
/** First allocation for a packet that is not complete: small, since its announced size is a claim. */
const assemblyBytesMin = 256;
/** Type and at most four bytes of length. */
const fixedHeaderBytesMax = 5;

/**
 * Cuts one connection's byte stream into packets. A packet inside one chunk is not copied; one that
 * is split gets a buffer that grows with the bytes that have arrived, never with the announced size.
 * Holds no buffer between packets. Everything the fixed header can tell is checked before buffering.
 */
export class PacketFramer {
  readonly #sink: FrameSink;
  readonly #frame: MutableFrame = { buffer: noBytes, firstByte: 0, start: 0, bodyStart: 0, end: 0 };
  #packetBytesMax: number;
  #version: ProtocolVersion = 5;
  /** Start of a packet that is not complete. */
  #partial: Buffer | undefined;
  #partialBytes = 0;
  /** Whole size of the partial packet; 0 while its length is not known. */
  #partialTotal = 0;
  /** Bytes that arrived while the sink does not want any. */
  #waiting: Buffer | undefined;
  #fault: ProtocolFault | undefined;
  #paused = false;

  /** `packetBytesMax` counts the fixed header too. */
  constructor(sink: FrameSink, packetBytesMax: number) {
    this.#sink = sink;
    this.#packetBytesMax = packetBytesMax;
  }

  /** From the next packet on. */
  configure(version: ProtocolVersion, packetBytesMax: number): void {
    this.#version = version;
    this.#packetBytesMax = packetBytesMax;
  }

  /** Bytes of memory held (whole backing stores): the incomplete packet and what waits. */
  get heldBytes(): number {
    return (this.#partial?.buffer.byteLength ?? 0) + (this.#waiting?.buffer.byteLength ?? 0);
  }

  /**
   * Hands every packet that `chunk` completes to the sink. After a fault nothing is read any more and
   * every call returns that fault. While paused the chunk is kept: stop reading the socket.
   */
  push(chunk: Buffer): ProtocolFault | undefined {
    if (this.#fault !== undefined) return this.#fault;
    if (this.#paused) {
      // At most what the socket had already read when it was told to stop.
      this.#waiting = this.#waiting === undefined ? chunk : Buffer.concat([this.#waiting, chunk]);
      return undefined;
    }
    this.#fault = this.#consume(chunk);
    this.#frame.buffer = noBytes;
    return this.#fault;
  }

  /** Goes on after the sink had returned false. */
  resume(): ProtocolFault | undefined {
    this.#paused = false;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    return waiting === undefined ? this.#fault : this.push(waiting);
  }

  #consume(chunk: Buffer): ProtocolFault | undefined {
    let position = 0;
    if (this.#partial !== undefined) {
      const next = this.#completePartial(chunk);
      if (typeof next !== 'number') return next;
      position = next;
    }
    const end = chunk.length;
    const frame = this.#frame;
    while (position < end) {
      if (this.#paused) {
        this.#waiting = chunk.subarray(position);
        return undefined;
      }
      const firstByte = chunk[position] ?? 0;
      const wrong = this.#checkFirstByte(firstByte);
      if (wrong !== undefined) return wrong;
      const length = readVariableByteInteger(chunk, position + 1, end);
      if (length < 0) {
        if (length === integerMalformed) return lengthFault();
        this.#startPartial(chunk, position, 0);
        return undefined;
      }
      const bodyStart = position + 1 + variableByteIntegerSize(length);
      const frameEnd = bodyStart + length;
      if (frameEnd - position > this.#packetBytesMax) return this.#tooLarge(frameEnd - position);
      if (frameEnd > end) {
        this.#startPartial(chunk, position, frameEnd - position);
        return undefined;
      }
      frame.buffer = chunk;
      frame.firstByte = firstByte;
      frame.start = position;
      frame.bodyStart = bodyStart;
      frame.end = frameEnd;
      position = frameEnd;
      if (!this.#sink.onFrame(frame)) this.#paused = true;
    }
    return undefined;
  }

  #startPartial(chunk: Buffer, start: number, total: number): void {
    this.#partialTotal = total;
    this.#partialBytes = 0;
    this.#append(chunk, start, chunk.length);
  }

  /** Copies what belongs to the partial packet; returns where the next packet begins. */
  #completePartial(chunk: Buffer): number | ProtocolFault {
    let position = 0;
    while (this.#partialTotal === 0) {
      if (position === chunk.length) return position;
      this.#append(chunk, position, position + 1);
      position++;
      const wrong = this.#readPartialHeader();
      if (wrong !== undefined) return wrong;
    }
    const wanted = this.#partialTotal - this.#partialBytes;
    const taken = Math.min(wanted, chunk.length - position);
    this.#append(chunk, position, position + taken);
    if (taken === wanted) this.#deliverPartial();
    return position + taken;
  }

  #readPartialHeader(): ProtocolFault | undefined {
    const partial = this.#partial ?? noBytes;
    const length = readVariableByteInteger(partial, 1, this.#partialBytes);
    if (length === integerCutOff) return undefined;
    if (length === integerMalformed) return lengthFault();
    const total = 1 + variableByteIntegerSize(length) + length;
    if (total > this.#packetBytesMax) return this.#tooLarge(total);
    this.#partialTotal = total;
    return undefined;
  }

  #deliverPartial(): void {
    const frame = this.#frame;
    const buffer = this.#partial ?? noBytes;
    const total = this.#partialTotal;
    this.#partial = undefined;
    this.#partialBytes = 0;
    this.#partialTotal = 0;
    const length = readVariableByteInteger(buffer, 1, total);
    frame.buffer = buffer;
    frame.firstByte = buffer[0] ?? 0;
    frame.start = 0;
    frame.bodyStart = 1 + variableByteIntegerSize(length);
    frame.end = total;
    if (!this.#sink.onFrame(frame)) this.#paused = true;
  }

  #append(chunk: Buffer, start: number, end: number): void {
    const bytes = this.#partialBytes + end - start;
    let partial = this.#partial;
    if (partial === undefined || partial.length < bytes) {
      partial = Buffer.allocUnsafeSlow(this.#assemblySize(bytes));
      this.#partial?.copy(partial, 0, 0, this.#partialBytes);
      this.#partial = partial;
    }
    chunk.copy(partial, this.#partialBytes, start, end);
    this.#partialBytes = bytes;
  }

  /** Twice what has arrived, at most the packet. */
  #assemblySize(bytes: number): number {
    if (this.#partialTotal === 0) return fixedHeaderBytesMax;
    return Math.min(this.#partialTotal, Math.max(assemblyBytesMin, 2 * bytes));
  }

  #checkFirstByte(firstByte: number): ProtocolFault | undefined {
    if (firstByte >> 4 === PacketType.publish) return undefined;
    return fixedHeaderFault(firstByte, this.#version);
  }

  #tooLarge(bytes: number): ProtocolFault {
    return fault(
      ReasonCode.packetTooLarge,
      'MQTT5-3.2.2-15',
      `a packet of ${bytes} bytes is larger than the limit of ${this.#packetBytesMax}`,
    );
  }
}

function lengthFault(): ProtocolFault {
  return malformed('MQTT5-1.5.5-1', 'the remaining length has more bytes than it needs or than 4');
}

function fixedHeaderFault(firstByte: number, version: ProtocolVersion): ProtocolFault | undefined {
  const type = firstByte >> 4;
  const flags = firstByte & 0x0f;
  if (type === 0 || (type === PacketType.auth && version !== 5)) {
    return malformed('MQTT5-2.1.2', `packet type ${type} does not exist in this version`);
  }
  const wanted =
    type === PacketType.pubrel || type === PacketType.subscribe || type === PacketType.unsubscribe
      ? 0x02
      : 0x00;
  if (flags === wanted) return undefined;
  // MQTT 3.1 sets DUP when it sends one of these again.
  if (version === 3 && wanted === 0x02 && flags === 0x0a) return undefined;
  return malformed('MQTT5-2.1.3-1', `packet type ${type} has the flags ${flags}, not ${wanted}`);
}
