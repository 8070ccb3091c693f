import { createHmac } from 'node:crypto';

import type { Clock, Random } from '@robustmq/core';

import { ExpiringMap } from '../expiring-map.ts';
import { WorkGate } from '../work-gate.ts';
import {
  hashPassword,
  parsePasswordHash,
  passwordFits,
  type ScryptParameters,
  scryptDefault,
} from './password-hash.ts';

export interface PasswordVerifierOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly scrypt?: ScryptParameters;
  /** Hashes at once; the log's syncs want the other threads. */
  readonly atOnceMax?: number;
  readonly waitingMax?: number;
  /** How long a password that was verified is remembered. */
  readonly rememberedMs?: number;
  readonly rememberedMax?: number;
}

/** Verifies and makes password hashes, a few at once (packages/auth/DESIGN.md, "Passwords"). */
export class PasswordVerifier {
  readonly gate: WorkGate;
  readonly #random: Random;
  readonly #scrypt: ScryptParameters;
  readonly #rememberedMs: number;
  readonly #verified: ExpiringMap<true>;
  readonly #underWay = new Map<string, Promise<boolean>>();
  /** Never leaves the process. */
  readonly #key: Buffer;
  #nobody: Promise<string> | undefined;

  constructor(options: PasswordVerifierOptions) {
    const { clock, random, atOnceMax = 2, waitingMax = 256 } = options;
    this.gate = new WorkGate('logins', { atOnceMax, waitingMax });
    this.#random = random;
    this.#scrypt = options.scrypt ?? scryptDefault;
    this.#rememberedMs = options.rememberedMs ?? 300_000;
    this.#verified = new ExpiringMap(clock, options.rememberedMax ?? 100_000);
    this.#key = random.bytes(32);
  }

  /**
   * Whether it is the user's password. Rejects with RESOURCE_EXHAUSTED when too many wait, with
   * INVALID_ARGUMENT when the stored hash is none.
   */
  verify(userName: string, stored: string, password: Buffer): Promise<boolean> {
    const key = this.#keyOf(userName, stored, password);
    if (this.#verified.get(key) === true) return Promise.resolve(true);
    const same = this.#underWay.get(key);
    if (same !== undefined) return same;
    const verifying = this.#verify(key, stored, password).finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, verifying);
    return verifying;
  }

  async #verify(key: string, stored: string, password: Buffer): Promise<boolean> {
    const hash = parsePasswordHash(stored);
    const fits = await this.gate.run(() => passwordFits(hash, password));
    if (fits) this.#verified.set(key, true, this.#rememberedMs);
    return fits;
  }

  /** Costs what {@link verify} costs for a user that there is. */
  async verifyNobody(password: Buffer): Promise<void> {
    const hash = parsePasswordHash(await this.#nobodysHash());
    await this.gate.run(() => passwordFits(hash, password));
  }

  #nobodysHash(): Promise<string> {
    this.#nobody ??= this.make(this.#random.bytes(16)).catch((thrown: unknown) => {
      this.#nobody = undefined;
      throw thrown;
    });
    return this.#nobody;
  }

  /** The text of a new hash. Rejects with RESOURCE_EXHAUSTED when too many wait. */
  make(password: Buffer): Promise<string> {
    return this.gate.run(() => hashPassword(password, this.#random, this.#scrypt));
  }

  /** Whether a hash should be replaced by what {@link make} makes. */
  isOld(stored: string): boolean {
    return parsePasswordHash(stored).kind !== 'scrypt';
  }

  #keyOf(userName: string, stored: string, password: Buffer): string {
    const { length } = Buffer.from(userName);
    return createHmac('sha256', this.#key)
      .update(`${length} ${userName} ${stored} `)
      .update(password)
      .digest('base64');
  }
}
