import { crc32c } from '@robustmq/record-batch';
import { describe, expect, it } from 'vitest';

import { parseProxyHeader } from './proxy-header.ts';

const signature = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');
const ipv4 = Buffer.from([192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 0x07, 0x5b]);

/** A binary header: command and version, family and protocol, then what follows. */
function binary(command: number, family: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const head = Buffer.from([command, family, body.length >> 8, body.length & 0xff]);
  return Buffer.concat([signature, head, body]);
}

function extra(type: number, value: Buffer): Buffer {
  return Buffer.concat([Buffer.from([type, value.length >> 8, value.length & 0xff]), value]);
}

function sslExtra(client: number, verify: number, name: string): Buffer {
  const fixed = Buffer.from([client, 0, 0, 0, verify]);
  return extra(0x20, Buffer.concat([fixed, extra(0x22, Buffer.from(name))]));
}

function withChecksum(): Buffer {
  const bytes = binary(0x21, 0x11, ipv4, extra(0x03, Buffer.alloc(4)));
  bytes.writeUInt32BE(crc32c(bytes), bytes.length - 4);
  return bytes;
}

function source(bytes: Buffer): unknown {
  const parsed = parseProxyHeader(bytes);
  return parsed.kind === 'header' ? parsed.source : parsed;
}

const plain = { address: '192.0.2.7', port: 56324, commonName: undefined };

describe('a PROXY header', () => {
  it.each([
    ['line', 'PROXY TCP4 192.0.2.7 198.51.100.1 56324 1883\r\n', plain],
    [
      'line, IPv6',
      'PROXY TCP6 2001:0db8:0:0:0:0:0:7 ::1 1 65535\r\n',
      { address: '2001:db8::7', port: 1, commonName: undefined },
    ],
    ['line of a health check', 'PROXY UNKNOWN\r\n', undefined],
    ['line of unknown addresses', 'PROXY UNKNOWN ::1 ::1 1 2\r\n', undefined],
    ['binary', binary(0x21, 0x11, ipv4), plain],
    [
      'binary, IPv6',
      binary(
        0x21,
        0x21,
        Buffer.from('20010db8000000000000000000000007', 'hex'),
        Buffer.alloc(16),
        Buffer.from([0, 1, 0, 2]),
      ),
      { address: '2001:db8::7', port: 1, commonName: undefined },
    ],
    [
      'binary, IPv4 written as IPv6',
      binary(
        0x21,
        0x21,
        Buffer.from('00000000000000000000ffffc0000207', 'hex'),
        Buffer.alloc(16),
        Buffer.from([0, 1, 0, 2]),
      ),
      { address: '192.0.2.7', port: 1, commonName: undefined },
    ],
    ['binary, LOCAL', binary(0x20, 0x00), undefined],
    ['binary, LOCAL with addresses', binary(0x20, 0x11, ipv4), undefined],
    ['binary, no addresses', binary(0x21, 0x00), undefined],
    ['binary, Unix sockets', binary(0x21, 0x31, Buffer.alloc(216)), undefined],
    ['binary, with a checksum', withChecksum(), plain],
    [
      'binary, with an unknown extension',
      binary(0x21, 0x11, ipv4, extra(0xea, Buffer.of(1))),
      plain,
    ],
    [
      'binary, with a verified certificate',
      binary(0x21, 0x11, ipv4, sslExtra(0x03, 0, 'device-7')),
      { ...plain, commonName: 'device-7' },
    ],
    [
      'binary, certificate of the session',
      binary(0x21, 0x11, ipv4, sslExtra(0x05, 0, 'device-7')),
      { ...plain, commonName: 'device-7' },
    ],
    ['binary, not verified', binary(0x21, 0x11, ipv4, sslExtra(0x03, 1, 'device-7')), plain],
    ['binary, no certificate', binary(0x21, 0x11, ipv4, sslExtra(0x01, 0, 'device-7')), plain],
  ])('%s: whom it speaks for', (_name, given, expected) => {
    expect(source(Buffer.from(given))).toEqual(expected);
  });

  it.each([
    'PROXY TCP4 192.0.2.7 198.51.100.1 56324 1883\r\n',
    binary(0x21, 0x11, ipv4, extra(0xea, Buffer.alloc(300))),
  ])('in pieces is waited for, and ends where it ends: %#', (given) => {
    const whole = Buffer.from(given);
    for (let length = 0; length < whole.length; length++) {
      expect(parseProxyHeader(whole.subarray(0, length))).toEqual({ kind: 'more' });
    }
    const followed = Buffer.concat([whole, Buffer.from('\r\nmore')]);
    expect(parseProxyHeader(followed)).toMatchObject({ kind: 'header', bytes: whole.length });
  });

  it.each([
    ['something else', Buffer.from([0x10, 0x10])],
    ['a line of another protocol', 'PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n'],
    ['an address of the other version', 'PROXY TCP4 ::1 ::1 1 2\r\n'],
    ['no address', 'PROXY TCP4 host host 1 2\r\n'],
    ['a port above 65535', 'PROXY TCP4 192.0.2.7 198.51.100.1 65536 2\r\n'],
    ['a port with zeros in front', 'PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n'],
    ['too few fields', 'PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n'],
    ['two spaces', 'PROXY TCP4  192.0.2.7 198.51.100.1 1 2\r\n'],
    ['a line without an end', `PROXY UNKNOWN ${'x'.repeat(93)}`],
    ['version 3', binary(0x31, 0x11, ipv4)],
    ['an unknown command', binary(0x22, 0x11, ipv4)],
    ['an unknown family', binary(0x21, 0x41, ipv4)],
    ['datagrams', binary(0x21, 0x12, ipv4)],
    ['addresses cut off', binary(0x21, 0x11, ipv4.subarray(0, 11))],
    ['an extension cut off', binary(0x21, 0x11, ipv4, Buffer.of(0xea, 0, 2, 1))],
    ['half an extension', binary(0x21, 0x11, ipv4, Buffer.of(0xea))],
    ['a TLS extension cut off', binary(0x21, 0x11, ipv4, extra(0x20, Buffer.of(1)))],
    ['a wrong checksum', binary(0x21, 0x11, ipv4, extra(0x03, Buffer.alloc(4)))],
    ['a checksum of three bytes', binary(0x21, 0x11, ipv4, extra(0x03, Buffer.alloc(3)))],
    ['more bytes than anybody needs', binary(0x21, 0x11, ipv4, Buffer.alloc(4_200))],
  ])('with %s is refused', (_name, given) => {
    expect(parseProxyHeader(Buffer.from(given)).kind).toBe('fault');
  });
});
