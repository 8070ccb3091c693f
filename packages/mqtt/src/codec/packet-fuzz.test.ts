import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ProtocolVersion } from './packet.ts';
import { decodeAll, samples } from './test-packets.ts';

/** Decodes and looks at every answer: a packet or a fault with a code, nothing thrown. */
function expectAnswers(data: Buffer, version: ProtocolVersion | undefined): void {
  for (const answer of decodeAll(data, version)) {
    if (answer.kind !== 'fault') continue;
    expect(answer.reasonCode).toBeGreaterThanOrEqual(0x80);
    expect(answer.clause).toMatch(/^MQTT5?-/);
  }
}

describe('any bytes give packets or faults, never a throw', () => {
  it.each(samples)('every truncation of $name with the length corrected', ({ bytes, version }) => {
    const bodyStart = bytes.length > 129 ? 3 : 2;
    for (let end = bodyStart; end < bytes.length; end++) {
      const body = bytes.subarray(bodyStart, end);
      const head = body.length < 128 ? [body.length] : [(body.length & 0x7f) | 0x80, 1];
      expectAnswers(Buffer.concat([Buffer.of(bytes[0] ?? 0, ...head), body]), version);
    }
  });

  it.each(samples)('every truncation of $name is waited for', ({ bytes, version }) => {
    for (let end = 0; end < bytes.length; end++) {
      expect(decodeAll(bytes.subarray(0, end), version)).toEqual([]);
    }
  });

  it.each(samples)('every flipped bit of $name', ({ bytes, version }) => {
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      for (const level of [version, undefined, 3, 4, 5] as const) expectAnswers(flipped, level);
    }
  });

  it('random bodies behind every first byte', () => {
    const versions = fc.constantFrom(undefined, 3 as const, 4 as const, 5 as const);
    const body = fc.uint8Array({ maxLength: 100 });
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 255 }), body, versions, (first, bytes, version) => {
        expectAnswers(Buffer.concat([Buffer.of(first, bytes.length), bytes]), version);
      }),
      { numRuns: 3000 },
    );
  });

  it('samples with a stretch replaced', () => {
    const change = fc.tuple(fc.nat(), fc.uint8Array({ minLength: 1, maxLength: 6 }));
    fc.assert(
      fc.property(fc.constantFrom(...samples), change, ({ bytes, version }, [at, patch]) => {
        const changed = Buffer.from(bytes);
        changed.set(patch.subarray(0, changed.length - (at % changed.length)), at % changed.length);
        expectAnswers(changed, version);
      }),
      { numRuns: 3000 },
    );
  });
});
