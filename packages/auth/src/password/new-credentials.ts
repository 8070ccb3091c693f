import type { Random } from '@robustmq/core';

import {
  makeScramKeys,
  type ScramMechanism,
  scramIterationsDefault,
  scramKeysText,
} from '../scram/scram-keys.ts';
import type { UserCredentials } from '../store/user.ts';
import type { PasswordVerifier } from './password-verifier.ts';

/** Everything that can be kept of a password: one set of credentials for all protocols. */
export async function newCredentials(
  password: Buffer,
  verifier: PasswordVerifier,
  random: Random,
  iterations = scramIterationsDefault,
): Promise<UserCredentials> {
  const keysOf = async (mechanism: ScramMechanism): Promise<string | undefined> => {
    // Bytes that are no text cannot be given in SCRAM.
    const text = password.toString('utf8');
    if (!Buffer.from(text).equals(password)) return undefined;
    const keys = await verifier.gate.run(() => makeScramKeys(mechanism, text, random, iterations));
    return keys && scramKeysText(mechanism, keys);
  };
  return {
    password: await verifier.make(password),
    scramSha256: await keysOf('SCRAM-SHA-256'),
    scramSha512: await keysOf('SCRAM-SHA-512'),
    origin: undefined,
  };
}
