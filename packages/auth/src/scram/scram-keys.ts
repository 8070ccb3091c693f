import { createHash, createHmac, pbkdf2 } from 'node:crypto';
import { promisify } from 'node:util';

import { OperatingError, type Random } from '@robustmq/core';

import { prepared } from './saslprep.ts';

/** Mechanisms by the names that MQTT 5 and Kafka clients give. */
export const scramMechanisms = ['SCRAM-SHA-256', 'SCRAM-SHA-512'] as const;

export type ScramMechanism = (typeof scramMechanisms)[number];

export function isScramMechanism(name: string): name is ScramMechanism {
  return scramMechanisms.some((mechanism) => mechanism === name);
}

/** What the server keeps of a password: it can verify a proof and prove itself, and no more. [RFC 5802] */
export interface ScramKeys {
  readonly iterations: number;
  readonly salt: Buffer;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

export const scramIterationsDefault = 15_000;
/** [RFC 7677, section 4] */
const iterationsMin = 4_096;
const iterationsMax = 10_000_000;
export const scramSaltBytes = 16;

const pbkdf2Of = promisify(pbkdf2);

export function digestNameOf(mechanism: ScramMechanism): 'sha256' | 'sha512' {
  return mechanism === 'SCRAM-SHA-256' ? 'sha256' : 'sha512';
}

export function digestBytesOf(mechanism: ScramMechanism): number {
  return mechanism === 'SCRAM-SHA-256' ? 32 : 64;
}

/** Undefined: SCRAM cannot spell the password. */
export async function makeScramKeys(
  mechanism: ScramMechanism,
  password: string,
  random: Random,
  iterations = scramIterationsDefault,
): Promise<ScramKeys | undefined> {
  const plain = prepared(password);
  if (plain === undefined) return undefined;
  const digest = digestNameOf(mechanism);
  const salt = random.bytes(scramSaltBytes);
  const salted = await pbkdf2Of(plain, salt, iterations, digestBytesOf(mechanism), digest);
  const clientKey = createHmac(digest, salted).update('Client Key').digest();
  const storedKey = createHash(digest).update(clientKey).digest();
  const serverKey = createHmac(digest, salted).update('Server Key').digest();
  return { iterations, salt, storedKey, serverKey };
}

/** As PostgreSQL writes them, too: `SCRAM-SHA-256$15000:salt$stored key:server key`. */
export function scramKeysText(mechanism: ScramMechanism, keys: ScramKeys): string {
  const [salt, stored, server] = [keys.salt, keys.storedKey, keys.serverKey].map((bytes) =>
    bytes.toString('base64'),
  );
  return `${mechanism}$${keys.iterations}:${salt}$${stored}:${server}`;
}

/** Throws INVALID_ARGUMENT that says what is wrong, without the keys. */
export function parseScramKeys(mechanism: ScramMechanism, text: string): ScramKeys {
  const found = /^([A-Z0-9-]+)\$(\d+):([^$:]+)\$([^$:]+):([^$:]+)$/.exec(text);
  if (found === null || found[1] !== mechanism) {
    throw invalid(mechanism, `are not ${mechanism}$iterations:salt$stored key:server key`);
  }
  const iterations = Number(found[2]);
  if (iterations < iterationsMin || iterations > iterationsMax) {
    throw invalid(mechanism, `have ${iterations} iterations; ${iterationsMin} is the least`);
  }
  const [salt, storedKey, serverKey] = found.slice(3).map((part) => Buffer.from(part, 'base64'));
  const bytes = digestBytesOf(mechanism);
  if (salt === undefined || storedKey?.length !== bytes || serverKey?.length !== bytes) {
    throw invalid(mechanism, `have keys that are not ${bytes} bytes long`);
  }
  return { iterations, salt, storedKey, serverKey };
}

function invalid(mechanism: ScramMechanism, what: string): OperatingError {
  return new OperatingError('INVALID_ARGUMENT', `the keys for ${mechanism} ${what}`);
}
