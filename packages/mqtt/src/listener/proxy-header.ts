import { crc32c } from '@robustmq/record-batch';

import { canonicalAddress, ipVersion } from './ip-address.ts';

/** Whom a proxy speaks for. */
export interface ProxySource {
  readonly address: string;
  readonly port: number;
  /** Common name of a client certificate that the proxy has verified. */
  readonly commonName: string | undefined;
}

/** What the first bytes of a connection are. */
export type ProxyHeader =
  /** `bytes` long; without a source the proxy speaks for itself. */
  | { readonly kind: 'header'; readonly bytes: number; readonly source: ProxySource | undefined }
  /** Not whole yet. */
  | { readonly kind: 'more' }
  | { readonly kind: 'fault'; readonly reason: string };

/** With CR and LF. [PROXY protocol, 2.1] */
const lineBytesMax = 107;
/** Of a binary header with everything in it: proxies send some hundred bytes. */
const binaryBytesMax = 4096;
const signature = Buffer.from([13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10]);
const linePrefix = Buffer.from('PROXY ');
const fixedBytes = 16;

const family = { ipv4: 1, ipv6: 2 } as const;
const tlv = { crc32c: 0x03, ssl: 0x20, sslCommonName: 0x22 } as const;
/** The client has shown a certificate on this connection, or on one of the same session. */
const certificateShown = 0x02 | 0x04;

const more: ProxyHeader = { kind: 'more' };

/** Reads a header of version 1 or 2 at the beginning of `bytes`; strict, since nothing else may come first. */
export function parseProxyHeader(bytes: Buffer): ProxyHeader {
  if (beginsLike(bytes, signature)) return parseBinary(bytes);
  if (beginsLike(bytes, linePrefix)) return parseLine(bytes);
  return fault('it does not begin with a PROXY header');
}

function beginsLike(bytes: Buffer, wanted: Buffer): boolean {
  const length = Math.min(bytes.length, wanted.length);
  return bytes.compare(wanted, 0, length, 0, length) === 0;
}

function fault(reason: string): ProxyHeader {
  return { kind: 'fault', reason };
}

// ---- version 1

function parseLine(bytes: Buffer): ProxyHeader {
  const end = bytes.subarray(0, lineBytesMax).indexOf('\r\n');
  if (end < 0) return bytes.length < lineBytesMax ? more : fault('its line has no end');
  const line = bytes.toString('latin1', 0, end);
  if (/^PROXY UNKNOWN(?: |$)/.test(line)) return header(end + 2, undefined);
  const [, protocol, address = '', target = '', port = '', targetPort = ''] =
    /^PROXY TCP([46]) (\S+) (\S+) (\d{1,5}) (\d{1,5})$/.exec(line) ?? [];
  const version = Number(protocol);
  const isValid =
    ipVersion(address) === version &&
    ipVersion(target) === version &&
    isPort(port) &&
    isPort(targetPort);
  if (!isValid) return fault('its line is not that of a TCP connection');
  const source = { address: canonicalAddress(address), port: Number(port), commonName: undefined };
  return header(end + 2, source);
}

function isPort(text: string): boolean {
  return Number(text) <= 0xffff && String(Number(text)) === text;
}

function header(bytes: number, source: ProxySource | undefined): ProxyHeader {
  return { kind: 'header', bytes, source };
}

// ---- version 2

function parseBinary(bytes: Buffer): ProxyHeader {
  if (bytes.length < fixedBytes) return more;
  const versionAndCommand = bytes.readUInt8(12);
  const familyAndProtocol = bytes.readUInt8(13);
  const length = fixedBytes + bytes.readUInt16BE(14);
  if (versionAndCommand >> 4 !== 2) return fault('its version is neither 1 nor 2');
  if (length > binaryBytesMax) return fault(`it has ${length} bytes, more than ${binaryBytesMax}`);
  if (bytes.length < length) return more;
  switch (versionAndCommand & 0x0f) {
    case 0: // LOCAL: the proxy speaks for itself.
      return header(length, undefined);
    case 1:
      return parseProxied(bytes.subarray(0, length), familyAndProtocol);
    default:
      return fault('its command is neither LOCAL nor PROXY');
  }
}

function parseProxied(bytes: Buffer, familyAndProtocol: number): ProxyHeader {
  const addressFamily = familyAndProtocol >> 4;
  const protocol = familyAndProtocol & 0x0f;
  const isInternet = addressFamily === family.ipv4 || addressFamily === family.ipv6;
  if (!isInternet) {
    const isKnown = addressFamily === 0 || addressFamily === 3;
    return isKnown ? header(bytes.length, undefined) : fault('its address family is unknown');
  }
  if (protocol !== 1) return fault('it is of another protocol than TCP');
  const addressBytes = addressFamily === family.ipv4 ? 4 : 16;
  const portAt = fixedBytes + 2 * addressBytes;
  const extrasAt = portAt + 4;
  if (bytes.length < extrasAt) return fault('its addresses are cut off');
  const extras = readExtras(bytes, extrasAt);
  if (extras === undefined) return fault('its extensions are cut off');
  if (!isIntact(bytes, extras.get(tlv.crc32c))) return fault('its checksum is wrong');
  const commonName = commonNameIn(extras.get(tlv.ssl));
  if (commonName === 'malformed') return fault('its TLS extension is cut off');
  const address = addressText(bytes.subarray(fixedBytes, fixedBytes + addressBytes));
  const port = bytes.readUInt16BE(portAt);
  return header(bytes.length, { address, port, commonName: commonName?.name });
}

function addressText(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, at) => bytes.readUInt16BE(2 * at).toString(16));
  return canonicalAddress(groups.join(':'));
}

/** By type; of several of one type the last. Undefined when one is cut off. */
function readExtras(bytes: Buffer, from: number): Map<number, Buffer> | undefined {
  const extras = new Map<number, Buffer>();
  let at = from;
  while (at < bytes.length) {
    if (at + 3 > bytes.length) return undefined;
    const end = at + 3 + bytes.readUInt16BE(at + 1);
    if (end > bytes.length) return undefined;
    extras.set(bytes.readUInt8(at), bytes.subarray(at + 3, end));
    at = end;
  }
  return extras;
}

/** The checksum is that of the header with zeros where it stands. */
function isIntact(bytes: Buffer, checksum: Buffer | undefined): boolean {
  if (checksum === undefined) return true;
  if (checksum.length !== 4) return false;
  const zeroed = Buffer.from(bytes);
  zeroed.fill(
    0,
    checksum.byteOffset - bytes.byteOffset,
    checksum.byteOffset - bytes.byteOffset + 4,
  );
  return crc32c(zeroed) === checksum.readUInt32BE(0);
}

function commonNameIn(ssl: Buffer | undefined): { name: string } | 'malformed' | undefined {
  if (ssl === undefined) return undefined;
  if (ssl.length < 5) return 'malformed';
  const extras = readExtras(ssl, 5);
  if (extras === undefined) return 'malformed';
  const name = extras.get(tlv.sslCommonName);
  const isVerified = (ssl.readUInt8(0) & certificateShown) !== 0 && ssl.readUInt32BE(1) === 0;
  return isVerified && name !== undefined && name.length > 0
    ? { name: name.toString('utf8') }
    : undefined;
}
