import { describe, expect, it } from 'vitest';
import { PacketWriter } from './packet-writer.ts';
import {
  integerCutOff,
  integerMalformed,
  readVariableByteInteger,
  variableByteIntegerMax,
  variableByteIntegerSize,
} from './variable-byte-integer.ts';

describe('variable byte integer', () => {
  it.each([0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, variableByteIntegerMax])(
    '%i is written minimally and read again [MQTT5-1.5.5-1]',
    (value) => {
      const writer = new PacketWriter();
      writer.variableByteInteger(value);
      const written = writer.take();
      expect(written.length).toBe(variableByteIntegerSize(value));
      expect(readVariableByteInteger(written, 0, written.length)).toBe(value);
      expect(readVariableByteInteger(written, 0, written.length - 1)).toBe(integerCutOff);
    },
  );

  it.each([
    ['80 00', [0x80, 0x00]],
    ['ff 80 00', [0xff, 0x80, 0x00]],
    ['ff 80 80 00', [0xff, 0x80, 0x80, 0x00]],
    ['five bytes', [0x80, 0x80, 0x80, 0x80, 0x01]],
  ])('%s is malformed [MQTT5-1.5.5-1]', (_, data) => {
    expect(readVariableByteInteger(Buffer.from(data), 0, data.length)).toBe(integerMalformed);
  });
});
