import { createPublicKey, createSecretKey, type KeyObject } from 'node:crypto';

import { OperatingError } from '@robustmq/core';
import {
  createLocalJWKSet,
  type CryptoKey,
  errors,
  type JSONWebKeySet,
  type JWTHeaderParameters,
} from 'jose';
import { z } from 'zod';

export type VerificationKey = KeyObject | CryptoKey;

/** Keys that tokens are verified with. */
export interface TokenKeys {
  readonly algorithms: readonly string[];
  /** The keys that a token may be signed with; none: a key of that name is not known. */
  find(header: JWTHeaderParameters): Promise<readonly VerificationKey[]>;
}

const secretAlgorithms = ['HS256', 'HS384', 'HS512'];
const publicAlgorithms =
  'RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519'.split(' ');
/** [RFC 7518, section 3.2] for HS256. */
const secretBytesMin = 32;

/** Secrets that the issuer has, too; several while one replaces another. */
export class SecretKeys implements TokenKeys {
  readonly algorithms = secretAlgorithms;
  readonly #keys: readonly KeyObject[];

  constructor(secrets: readonly Buffer[]) {
    for (const { length } of secrets) {
      if (length >= secretBytesMin) continue;
      const message = `a token secret has ${length} bytes; at least ${secretBytesMin} are wanted`;
      throw new OperatingError('INVALID_ARGUMENT', message);
    }
    this.#keys = secrets.map((secret) => createSecretKey(secret));
  }

  find(): Promise<readonly VerificationKey[]> {
    return Promise.resolve(this.#keys);
  }
}

/** Public keys. */
export class PublicKeys implements TokenKeys {
  readonly algorithms = publicAlgorithms;
  readonly #find: ReturnType<typeof createLocalJWKSet>;

  constructor(keys: JSONWebKeySet) {
    this.#find = createLocalJWKSet(keys);
  }

  async find(header: JWTHeaderParameters): Promise<readonly VerificationKey[]> {
    try {
      return [await this.#find(header)];
    } catch (thrown) {
      if (thrown instanceof errors.JWKSNoMatchingKey) return [];
      if (!(thrown instanceof errors.JWKSMultipleMatchingKeys)) throw thrown;
      const several: VerificationKey[] = [];
      for await (const key of thrown) several.push(key);
      return several;
    }
  }
}

const keySet = z.object({ keys: z.array(z.looseObject({ kty: z.string() })).min(1) });

/** A JWKS document; private and symmetric keys have no place in it. Throws INVALID_ARGUMENT. */
export function parseKeySet(text: string): JSONWebKeySet {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    throw new OperatingError('INVALID_ARGUMENT', 'the JWKS is no JSON');
  }
  const parsed = keySet.safeParse(content);
  if (!parsed.success) throw new OperatingError('INVALID_ARGUMENT', 'the JWKS has no keys');
  return { keys: parsed.data.keys.filter(({ kty }) => kty !== 'oct') };
}

/** Public keys or certificates in PEM. Throws INVALID_ARGUMENT. */
export function parsePublicKeys(pems: readonly string[]): JSONWebKeySet {
  const keys = pems.flatMap((pem) => {
    const blocks = pem.match(/-----BEGIN ([A-Z ]+)-----[\s\S]+?-----END \1-----/g) ?? [];
    if (blocks.length === 0) throw new OperatingError('INVALID_ARGUMENT', 'no public key in PEM');
    return blocks.map(publicKey);
  });
  return { keys };
}

function publicKey(pem: string): JSONWebKeySet['keys'][number] {
  try {
    const { kty, ...rest } = createPublicKey(pem).export({ format: 'jwk' });
    if (kty !== undefined) return { kty, ...rest };
  } catch {
    // Said below, without the key.
  }
  throw new OperatingError('INVALID_ARGUMENT', 'a PEM block that is no public key');
}
