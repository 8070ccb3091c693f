import { randomBytes } from 'node:crypto';

/** Randomness as a parameter: seeded in tests, from the system otherwise. */
export interface Random {
  /** A number in [0, 1). */
  next(): number;
  /** `count` random bytes in a buffer of their own. */
  bytes(count: number): Buffer;
}

export function systemRandom(): Random {
  return { next: () => Math.random(), bytes: (count) => randomBytes(count) };
}

/** mulberry32: small, fast, the same numbers for the same seed everywhere. Not for secrets. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return {
    next,
    bytes(count) {
      const out = Buffer.allocUnsafeSlow(count);
      for (let i = 0; i < count; i++) out[i] = Math.floor(next() * 256);
      return out;
    },
  };
}

/** An integer in [0, bound). */
export function randomInteger(random: Random, bound: number): number {
  return Math.floor(random.next() * bound);
}
