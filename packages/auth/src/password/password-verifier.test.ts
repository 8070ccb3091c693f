import { seededRandom } from '@robustmq/core';
import { VirtualClock } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';

import { PasswordVerifier, type PasswordVerifierOptions } from './password-verifier.ts';

const scrypt = { logCost: 4, blockSize: 8, parallel: 1 };
const right = Buffer.from('right');
const wrong = Buffer.from('wrong');

function verifierWith(options: Partial<PasswordVerifierOptions> = {}): PasswordVerifier {
  return new PasswordVerifier({
    clock: new VirtualClock(),
    random: seededRandom(7),
    scrypt,
    ...options,
  });
}

/** Lets all work in the gate wait until it is released. */
function holdGate(verifier: PasswordVerifier, count: number): () => void {
  let release = (): void => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  for (let at = 0; at < count; at++) void verifier.gate.run(() => held);
  return release;
}

describe('a password', () => {
  it('is verified', async () => {
    const verifier = verifierWith();
    const stored = await verifier.make(right);
    expect(await verifier.verify('alice', stored, right)).toBe(true);
    expect(await verifier.verify('alice', stored, wrong)).toBe(false);
  });

  it('that was verified is remembered for minutes, by user, hash and password', async () => {
    const clock = new VirtualClock();
    const verifier = verifierWith({ clock, atOnceMax: 1, waitingMax: 0 });
    const stored = await verifier.make(right);
    const other = await verifier.make(right);
    await verifier.verify('alice', stored, right);
    const release = holdGate(verifier, 1);
    expect(await verifier.verify('alice', stored, right)).toBe(true);
    // Everything else needs the gate, which is full.
    await expect(verifier.verify('alice', stored, wrong)).rejects.toThrow('wait already');
    await expect(verifier.verify('bob', stored, right)).rejects.toThrow('wait already');
    await expect(verifier.verify('alice', other, right)).rejects.toThrow('wait already');
    await clock.advance(300_001);
    await expect(verifier.verify('alice', stored, right)).rejects.toThrow('wait already');
    release();
  });

  it('that is wrong is not remembered', async () => {
    const verifier = verifierWith({ atOnceMax: 1, waitingMax: 0 });
    const stored = await verifier.make(right);
    await verifier.verify('alice', stored, wrong);
    const release = holdGate(verifier, 1);
    await expect(verifier.verify('alice', stored, wrong)).rejects.toThrow('wait already');
    release();
  });

  it('more than so many do not wait: they are told', async () => {
    const verifier = verifierWith({ atOnceMax: 2, waitingMax: 3 });
    const stored = await verifier.make(right);
    const release = holdGate(verifier, 2);
    const waiting = ['a', 'b', 'c'].map((user) => verifier.verify(user, stored, right));
    await expect(verifier.verify('d', stored, right)).rejects.toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
    });
    expect(verifier.gate).toMatchObject({ running: 2, waiting: 3, refused: 1 });
    release();
    expect(await Promise.all(waiting)).toEqual([true, true, true]);
    expect(verifier.gate).toMatchObject({ running: 0, waiting: 0 });
  });

  it('equal attempts at one time are verified once', async () => {
    const verifier = verifierWith({ atOnceMax: 1, waitingMax: 1 });
    const stored = await verifier.make(right);
    const release = holdGate(verifier, 1);
    const same = Array.from({ length: 50 }, () => verifier.verify('alice', stored, right));
    expect(verifier.gate.waiting).toBe(1);
    release();
    expect(new Set(await Promise.all(same))).toEqual(new Set([true]));
  });

  it('of nobody takes a turn in the gate, too', async () => {
    const verifier = verifierWith({ atOnceMax: 1, waitingMax: 0 });
    await verifier.verifyNobody(right);
    const release = holdGate(verifier, 1);
    await expect(verifier.verifyNobody(right)).rejects.toThrow('wait already');
    release();
    await verifier.verifyNobody(right);
  });

  it('of nobody that found the gate full at first is verified later', async () => {
    const verifier = verifierWith({ atOnceMax: 1, waitingMax: 0 });
    const release = holdGate(verifier, 1);
    await expect(verifier.verifyNobody(right)).rejects.toThrow('wait already');
    release();
    await verifier.gate.run(() => Promise.resolve()).catch(() => {});
    await verifier.verifyNobody(right);
  });
});
