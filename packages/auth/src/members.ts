import { dirname, resolve } from 'node:path';

import { type Clock, type Logger, OperatingError, type Random } from '@robustmq/core';

import type { Members } from './access-control.ts';
import type { Authenticator } from './authenticator.ts';
import { CertificateAuthenticator } from './certificate/certificate-authenticator.ts';
import type { Fetch } from './http/bounded-fetch.ts';
import { HttpAuthenticator } from './http/http-authenticator.ts';
import type { PasswordVerifier } from './password/password-verifier.ts';
import { UserAuthenticator } from './password/user-authenticator.ts';
import { scramMechanisms } from './scram/scram-keys.ts';
import { type AccessFileContent, memberNames } from './store/access-file-schema.ts';
import type { UserStore } from './store/stores.ts';
import type { TextFiles } from './store/text-files.ts';
import { RemoteKeys } from './token/remote-keys.ts';
import { TokenAuthenticator } from './token/token-authenticator.ts';
import {
  parseKeySet,
  parsePublicKeys,
  PublicKeys,
  SecretKeys,
  type TokenKeys,
} from './token/token-keys.ts';

export interface MembersOptions {
  /** Files that it names are relative to it. */
  readonly path: string;
  readonly files: TextFiles;
  readonly fetch: Fetch;
  readonly users: UserStore;
  readonly verifier: PasswordVerifier;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Used when the file has no secret of its own. */
  readonly scramSecret: Buffer;
}

/** Members of a chain with what has to be ended when they are replaced. */
export interface BuiltMembers extends Disposable {
  readonly members: Members;
  /** Files that were read: when one changes, they are to be built again. */
  readonly paths: readonly string[];
}

/** Makes the members that an access file asks for. Rejects with INVALID_ARGUMENT when a file of keys is wrong. */
export async function buildMembers(
  content: AccessFileContent,
  options: MembersOptions,
): Promise<BuiltMembers> {
  const paths = keyPaths(content).map((path) => resolve(dirname(options.path), path));
  const keys = await tokenKeys(content, paths, options);
  const chain = (content.chain ?? memberNames).flatMap((name) =>
    memberOf(name, content, keys, options),
  );
  const { mechanisms = [...scramMechanisms], secret } = content.scram ?? {};
  const scramSecret = secret === undefined ? options.scramSecret : Buffer.from(secret);
  return {
    members: { chain, scram: mechanisms, scramSecret },
    paths,
    [Symbol.dispose]: () => {
      if (keys instanceof RemoteKeys) keys[Symbol.dispose]();
    },
  };
}

function memberOf(
  name: (typeof memberNames)[number],
  content: AccessFileContent,
  keys: TokenKeys | undefined,
  options: MembersOptions,
): Authenticator[] {
  const { users, clock, random, fetch } = options;
  const { certificate, http } = content;
  switch (name) {
    case 'users':
      return [new UserAuthenticator(options)];
    case 'certificate':
      return certificate === undefined
        ? []
        : [new CertificateAuthenticator(certificate.name, users)];
    case 'token':
      return keys === undefined ? [] : [tokenMember(content, keys, clock)];
    default: {
      if (http === undefined) return [];
      const { url, headers } = http;
      const bounds = {
        ...(http['timeout-ms'] !== undefined && { timeoutMs: http['timeout-ms'] }),
        ...(http['cache-ms'] !== undefined && { cacheMs: http['cache-ms'] }),
        ...(http['at-once-max'] !== undefined && { atOnceMax: http['at-once-max'] }),
      };
      const own = headers === undefined ? {} : { headers };
      return [new HttpAuthenticator({ url, ...own, ...bounds, clock, random, fetch })];
    }
  }
}

function tokenMember(
  { token = {} }: AccessFileContent,
  keys: TokenKeys,
  clock: Clock,
): TokenAuthenticator {
  return new TokenAuthenticator({
    keys,
    clock,
    issuer: token.issuer,
    audience: token.audience,
    claims: token.claims,
    superuserClaim: token['superuser-claim'],
    ...(token.from !== undefined && { from: token.from }),
    ...(token['user-claim'] !== undefined && { userClaim: token['user-claim'] }),
    ...(token['groups-claim'] !== undefined && { groupsClaim: token['groups-claim'] }),
    ...(token['acl-claim'] !== undefined && { aclClaim: token['acl-claim'] }),
    ...(token['expiry-required'] !== undefined && { expiryRequired: token['expiry-required'] }),
  });
}

function keyPaths({ token }: AccessFileContent): string[] {
  const one = token?.['jwks-file'];
  const several = token?.['secret-files'] ?? token?.['key-files'] ?? [];
  return one === undefined ? [...several] : [one];
}

async function tokenKeys(
  { token }: AccessFileContent,
  paths: readonly string[],
  options: MembersOptions,
): Promise<TokenKeys | undefined> {
  if (token === undefined) return undefined;
  const url = token['jwks-url'];
  if (url !== undefined) {
    const { clock, logger, fetch } = options;
    const keys = new RemoteKeys({ url, clock, logger, fetch });
    await keys.start();
    return keys;
  }
  const contents: Buffer[] = [];
  for (const path of paths) contents.push(await contentOf(path, options.files));
  try {
    if (token['secret-files'] !== undefined) return new SecretKeys(contents.map(withoutNewline));
    const texts = contents.map(String);
    const isSet = token['jwks-file'] !== undefined;
    return new PublicKeys(isSet ? parseKeySet(texts.join('')) : parsePublicKeys(texts));
  } catch (thrown) {
    if (!(thrown instanceof OperatingError)) throw thrown;
    throw new OperatingError(thrown.code, `${paths.join(', ')}: ${thrown.message}`);
  }
}

async function contentOf(path: string, files: TextFiles): Promise<Buffer> {
  try {
    return await files.read(path);
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    throw new OperatingError('INVALID_ARGUMENT', `${path} cannot be read: ${reason}`);
  }
}

/** Editors put a newline behind the last line; it is no part of a secret. */
function withoutNewline(secret: Buffer): Buffer {
  const text = secret.toString('latin1').replace(/\r?\n$/, '');
  return Buffer.from(text, 'latin1');
}
