import { crc32c as native } from '@node-rs/crc32';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32c } from './crc32c.ts';

describe('crc32c', () => {
  it('gives the check values of RFC 3720, appendix B.4', () => {
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
    expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa);
    expect(crc32c(Buffer.alloc(32, 0xff))).toBe(0x62a8ab43);
    expect(crc32c(Uint8Array.from({ length: 32 }, (_, index) => index))).toBe(0x46dd794e);
  });

  it('agrees with the native package for every length around the switch', () => {
    const bytes = Buffer.from(Uint8Array.from({ length: 600 }, (_, index) => index * 31));
    for (let length = 0; length <= 560; length++) {
      const end = 7 + length;
      expect(crc32c(bytes, 7, end)).toBe(native(bytes.subarray(7, end)));
    }
  });

  it('continues from the CRC of the bytes before', () => {
    const property = fc.property(fc.uint8Array({ maxLength: 700 }), fc.nat(700), (bytes, at) => {
      const cut = Math.min(at, bytes.length);
      const head = crc32c(bytes, 0, cut);
      expect(crc32c(bytes, cut, bytes.length, head)).toBe(native(bytes));
    });
    fc.assert(property, { numRuns: 200 });
  });
});
