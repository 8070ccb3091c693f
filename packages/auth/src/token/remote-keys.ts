import { type CancelTimer, type Clock, type Logger, OperatingError } from '@robustmq/core';
import type { JWTHeaderParameters } from 'jose';

import { type Fetch, fetchBounded } from '../http/bounded-fetch.ts';
import { parseKeySet, PublicKeys, type TokenKeys, type VerificationKey } from './token-keys.ts';

export interface RemoteKeysOptions {
  readonly url: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly fetch: Fetch;
  readonly refreshMs?: number;
  /** Least time between two requests for keys that are not known. */
  readonly cooldownMs?: number;
  readonly timeoutMs?: number;
  /** How long keys are good while the service is away. */
  readonly staleMsMax?: number;
}

const keySetBytesMax = 1024 * 1024;

/** Public keys that a service publishes and rotates. */
export class RemoteKeys implements TokenKeys, Disposable {
  readonly algorithms = new PublicKeys({ keys: [] }).algorithms;
  readonly #options: Required<RemoteKeysOptions>;
  #keys: PublicKeys | undefined;
  #fetchedMs = Number.NEGATIVE_INFINITY;
  #askedMs = Number.NEGATIVE_INFINITY;
  #underWay: Promise<void> | undefined;
  #cancel: CancelTimer = () => {};
  #isDisposed = false;
  failures = 0;

  constructor(options: RemoteKeysOptions) {
    this.#options = {
      refreshMs: 600_000,
      cooldownMs: 30_000,
      timeoutMs: 5_000,
      staleMsMax: 86_400_000,
      ...options,
    };
  }

  /** Fetches now and then from now on. Resolves after the first try. */
  start(): Promise<void> {
    return this.#refresh();
  }

  /** Rejects with UNAVAILABLE while there are no keys, or they are too old. */
  async find(header: JWTHeaderParameters): Promise<readonly VerificationKey[]> {
    const known = await this.#usable?.find(header);
    if (known !== undefined && known.length > 0) return known;
    const { clock, cooldownMs } = this.#options;
    const isDue = clock.monotonicMs() - this.#askedMs >= cooldownMs;
    if (isDue || this.#underWay !== undefined) await this.#refresh();
    const keys = this.#usable;
    if (keys !== undefined) return keys.find(header);
    throw new OperatingError('UNAVAILABLE', 'the keys of tokens could not be fetched');
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.#cancel();
  }

  get #usable(): PublicKeys | undefined {
    const ageMs = this.#options.clock.monotonicMs() - this.#fetchedMs;
    return ageMs <= this.#options.staleMsMax ? this.#keys : undefined;
  }

  #refresh(): Promise<void> {
    this.#underWay ??= this.#fetch().finally(() => (this.#underWay = undefined));
    return this.#underWay;
  }

  async #fetch(): Promise<void> {
    const { url, clock, fetch, timeoutMs, refreshMs, logger } = this.#options;
    this.#cancel();
    this.#askedMs = clock.monotonicMs();
    const bounds = { timeoutMs, bytesMax: keySetBytesMax };
    try {
      const { status, text } = await fetchBounded(url, {}, bounds, { clock, fetch });
      if (status !== 200) throw new OperatingError('UNAVAILABLE', `status ${status}`);
      this.#keys = new PublicKeys(parseKeySet(text));
      this.#fetchedMs = clock.monotonicMs();
    } catch (thrown) {
      this.failures++;
      const error = thrown instanceof Error ? thrown.message : String(thrown);
      logger.warn({ error }, 'the keys of tokens could not be fetched; those before stay in use');
    }
    if (this.#isDisposed) return;
    this.#cancel = clock.setTimer(refreshMs, () => void this.#refresh());
  }
}
