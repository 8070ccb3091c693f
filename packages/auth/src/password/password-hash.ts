import { createHash, pbkdf2, scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

import { OperatingError, type Random } from '@robustmq/core';

export interface ScryptParameters {
  /** N is two to the power of it. */
  readonly logCost: number;
  readonly blockSize: number;
  readonly parallel: number;
}

/** A stored password. `sha512` and `pbkdf2` are Mosquitto's. */
export type PasswordHash =
  | {
      readonly kind: 'scrypt';
      readonly parameters: ScryptParameters;
      readonly salt: Buffer;
      readonly hash: Buffer;
    }
  | { readonly kind: 'sha512'; readonly salt: Buffer; readonly hash: Buffer }
  | {
      readonly kind: 'pbkdf2';
      readonly iterations: number;
      readonly salt: Buffer;
      readonly hash: Buffer;
    };

/** SCRAM's keys stand beside it and are no harder to attack: more would cost logins and protect nothing. */
export const scryptDefault: ScryptParameters = { logCost: 14, blockSize: 8, parallel: 1 };

const scryptBytesMax = 256 * 1024 * 1024;
const parallelMax = 16;
const iterationsMax = 10_000_000;
const saltBytes = 16;
const hashBytes = 32;
const sha512Bytes = 64;

const scryptOf = promisify<Buffer, Buffer, number, object, Buffer>(scrypt);
const pbkdf2Of = promisify(pbkdf2);

/** Throws INVALID_ARGUMENT that says what is wrong, without the hash itself. */
export function parsePasswordHash(text: string): PasswordHash {
  const [, kind, ...rest] = text.split('$');
  if (kind === 'scrypt') return parseScrypt(rest);
  if (kind === '6' && rest.length === 2) {
    const [salt = '', hash = ''] = rest;
    return { kind: 'sha512', salt: bytesOf(salt, 'salt'), hash: digestOf(hash) };
  }
  if (kind === '7' && rest.length === 3) {
    const [iterations = '', salt = '', hash = ''] = rest;
    const count = Number(iterations);
    if (!Number.isInteger(count) || count < 1 || count > iterationsMax) {
      throw invalid(`has ${iterations} iterations; 1 to ${iterationsMax} are taken`);
    }
    return {
      kind: 'pbkdf2',
      iterations: count,
      salt: bytesOf(salt, 'salt'),
      hash: digestOf(hash),
    };
  }
  throw invalid('is none of $scrypt$…, $6$… and $7$…; "robustmq access user" makes one');
}

function parseScrypt(rest: readonly string[]): PasswordHash {
  const [text = '', salt = '', hash = ''] = rest;
  const found = /^ln=(\d{1,2}),r=(\d{1,3}),p=(\d{1,2})$/.exec(text);
  if (found === null || rest.length !== 3) throw invalid('is not $scrypt$ln=…,r=…,p=…$salt$hash');
  const [logCost = 0, blockSize = 0, parallel = 0] = found.slice(1).map(Number);
  const parameters = { logCost, blockSize, parallel };
  const isSane = logCost > 0 && blockSize > 0 && parallel > 0 && parallel <= parallelMax;
  if (!isSane || scryptBytes(parameters) > scryptBytesMax) {
    throw invalid(`has ${text}, which is nothing or wants more than ${scryptBytesMax} bytes`);
  }
  return {
    kind: 'scrypt',
    parameters,
    salt: bytesOf(salt, 'salt'),
    hash: bytesOf(hash, 'hash'),
  };
}

/** The text of a new scrypt hash. Costs as much as verifying it. */
export async function hashPassword(
  password: Buffer,
  random: Random,
  parameters: ScryptParameters = scryptDefault,
): Promise<string> {
  const salt = random.bytes(saltBytes);
  const hash = await scryptHash(password, salt, parameters, hashBytes);
  const { logCost, blockSize, parallel } = parameters;
  const text = [salt, hash].map((bytes) => bytes.toString('base64').replace(/=+$/, ''));
  return `$scrypt$ln=${logCost},r=${blockSize},p=${parallel}$${text.join('$')}`;
}

/** Whether it is the password. Takes as long whether it is or not. */
export async function passwordFits(stored: PasswordHash, password: Buffer): Promise<boolean> {
  return timingSafeEqual(await hashLike(stored, password), stored.hash);
}

function hashLike(stored: PasswordHash, password: Buffer): Promise<Buffer> {
  const { salt, hash } = stored;
  switch (stored.kind) {
    case 'scrypt':
      return scryptHash(password, salt, stored.parameters, hash.length);
    case 'sha512':
      return Promise.resolve(createHash('sha512').update(password).update(salt).digest());
    default:
      return pbkdf2Of(password, salt, stored.iterations, hash.length, 'sha512');
  }
}

function scryptHash(
  password: Buffer,
  salt: Buffer,
  parameters: ScryptParameters,
  length: number,
): Promise<Buffer> {
  const { logCost, blockSize: r, parallel: p } = parameters;
  return scryptOf(password, salt, length, {
    N: 2 ** logCost,
    r,
    p,
    maxmem: scryptBytes(parameters) + 1024 * 1024,
  });
}

function scryptBytes({ logCost, blockSize, parallel }: ScryptParameters): number {
  return 128 * blockSize * (2 ** logCost + parallel);
}

function digestOf(text: string): Buffer {
  const hash = bytesOf(text, 'hash');
  if (hash.length !== sha512Bytes) throw invalid(`has a hash of ${hash.length} bytes, not 64`);
  return hash;
}

function bytesOf(text: string, what: string): Buffer {
  if (!/^[A-Za-z0-9+/]{2,}={0,2}$/.test(text)) throw invalid(`has a ${what} that is no base64`);
  return Buffer.from(text, 'base64');
}

function invalid(what: string): OperatingError {
  return new OperatingError('INVALID_ARGUMENT', `the password hash ${what}`);
}
