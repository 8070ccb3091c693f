import type { UserProperty } from './packet.ts';
import { malformed, protocolError, type ProtocolFault } from './protocol-fault.ts';
import {
  integerCutOff,
  readVariableByteInteger,
  variableByteIntegerSize,
} from './variable-byte-integer.ts';
import { isMqttText } from './utf8.ts';

const noBytes = Buffer.alloc(0);

/**
 * Reads a packet's body field by field, for the packets that are not on the hot path. The first
 * fault sticks: from then on every read yields 0 and moves nothing, so a check may go on reading and
 * look at {@link PacketReader.fault} once.
 */
export class PacketReader {
  buffer: Buffer = noBytes;
  position = 0;
  end = 0;
  fault: ProtocolFault | undefined;
  /** Start of the last {@link text} or {@link binary}; `position` is its end. */
  valueStart = 0;

  reset(buffer: Buffer, start: number, end: number): void {
    this.buffer = buffer;
    this.position = start;
    this.end = end;
    this.fault = undefined;
    this.valueStart = start;
  }

  /** Bytes that can still be read: none after a fault, so that a loop over them ends. */
  get remaining(): number {
    return this.fault === undefined ? this.end - this.position : 0;
  }

  /** Keeps `found` unless there was a fault before. */
  fail(found: ProtocolFault): void {
    this.fault ??= found;
    this.position = this.end;
  }

  byte(what: string): number {
    return this.#has(1, what) ? (this.buffer[this.position++] ?? 0) : 0;
  }

  u16(what: string): number {
    if (!this.#has(2, what)) return 0;
    this.position += 2;
    return this.buffer.readUInt16BE(this.position - 2);
  }

  u32(what: string): number {
    if (!this.#has(4, what)) return 0;
    this.position += 4;
    return this.buffer.readUInt32BE(this.position - 4);
  }

  variableByteInteger(what: string): number {
    if (this.fault !== undefined) return 0;
    const value = readVariableByteInteger(this.buffer, this.position, this.end);
    if (value < 0) {
      const how = value === integerCutOff ? 'is cut off' : 'has more bytes than it needs or than 4';
      this.fail(malformed('MQTT5-1.5.5-1', `${what} ${how}`));
      return 0;
    }
    this.position += variableByteIntegerSize(value);
    return value;
  }

  /** Binary Data: two bytes of length, then the bytes. Sets {@link valueStart}. */
  binary(what: string): void {
    const length = this.u16(what);
    if (!this.#has(length, what)) return;
    this.valueStart = this.position;
    this.position += length;
  }

  /** UTF-8 Encoded String. Sets {@link valueStart}. [MQTT5-1.5.4-1, -1.5.4-2] */
  text(what: string): void {
    this.binary(what);
    if (this.fault !== undefined || isMqttText(this.buffer, this.valueStart, this.position)) return;
    const clause = this.buffer.subarray(this.valueStart, this.position).includes(0)
      ? 'MQTT5-1.5.4-2'
      : 'MQTT5-1.5.4-1';
    this.fail(malformed(clause, `${what} is not well-formed UTF-8 or contains U+0000`));
  }

  /** A packet identifier. [MQTT5-2.2.1-3] */
  packetId(): number {
    const id = this.u16('the packet identifier');
    if (id === 0) this.fail(protocolError('MQTT5-2.2.1-3', 'the packet identifier is 0'));
    return id;
  }

  /** The packet must end here. */
  finish(what: string): void {
    if (this.position < this.end) {
      const bytes = this.end - this.position;
      this.fail(malformed('MQTT5-2.1.4', `${what} has ${bytes} bytes behind its last field`));
    }
  }

  #has(bytes: number, what: string): boolean {
    if (this.fault !== undefined) return false;
    if (this.end - this.position >= bytes) return true;
    this.fail(malformed('MQTT5-2.1.4', `the packet ends inside ${what}`));
    return false;
  }
}

/** A name or value of a user property that was checked before. */
export function readUserProperty(buffer: Buffer, position: number): UserProperty {
  const nameEnd = position + 2 + buffer.readUInt16BE(position);
  const valueEnd = nameEnd + 2 + buffer.readUInt16BE(nameEnd);
  return {
    name: buffer.toString('utf8', position + 2, nameEnd),
    value: buffer.toString('utf8', nameEnd + 2, valueEnd),
  };
}
