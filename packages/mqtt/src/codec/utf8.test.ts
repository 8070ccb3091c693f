import { describe, expect, it } from 'vitest';
import { isMqttText, sameBytes } from './utf8.ts';

const check = (bytes: Buffer): boolean => isMqttText(bytes, 0, bytes.length);

describe('isMqttText', () => {
  it.each(['', 'abc', 'ä', '€', '😀', 'a\u0001b', '\uFEFFabc', '\uFFFF'])('takes %j', (text) => {
    expect(check(Buffer.from(text))).toBe(true);
  });

  it.each([
    ['a surrogate [MQTT5-1.5.4-1]', [0xed, 0xa0, 0x80]],
    ['a pair of surrogates [MQTT5-1.5.4-1]', [0xed, 0xa0, 0x80, 0xed, 0xb0, 0x80]],
    ['an overlong slash [MQTT5-1.5.4-1]', [0xc0, 0xaf]],
    ['above U+10FFFF [MQTT5-1.5.4-1]', [0xf4, 0x90, 0x80, 0x80]],
    ['a cut character [MQTT5-1.5.4-1]', [0x61, 0xe2, 0x82]],
    ['a stray continuation [MQTT5-1.5.4-1]', [0x61, 0x80]],
    ['U+0000 in ASCII [MQTT5-1.5.4-2]', [0x61, 0, 0x62]],
    ['U+0000 behind a wide character [MQTT5-1.5.4-2]', [0xc3, 0xa4, 0]],
    ['U+0000 in two bytes [MQTT5-1.5.4-1]', [0xc0, 0x80]],
  ])('refuses %s', (_, bytes) => {
    expect(check(Buffer.from(bytes))).toBe(false);
  });

  it('keeps a byte order mark apart from nothing [MQTT5-1.5.4-3]', () => {
    const marked = Buffer.from('\uFEFFa');
    expect(sameBytes(marked, 0, marked.length, Buffer.from('a'))).toBe(false);
  });

  it('looks at its range only', () => {
    const bytes = Buffer.from([0, 0x61, 0xff]);
    expect(isMqttText(bytes, 1, 2)).toBe(true);
    expect(isMqttText(bytes, 1, 3)).toBe(false);
  });
});

describe('sameBytes', () => {
  it.each([0, 1, 48, 49, 300])('compares ranges of %i bytes', (length) => {
    const whole = Buffer.from(`x${'a'.repeat(length)}y`);
    const same = Buffer.from('a'.repeat(length));
    expect(sameBytes(whole, 1, 1 + length, same)).toBe(true);
    expect(sameBytes(whole, 1, 2 + length, same)).toBe(false);
    if (length === 0) return;
    same[length - 1] = 0x62;
    expect(sameBytes(whole, 1, 1 + length, same)).toBe(false);
  });
});
