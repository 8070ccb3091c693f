import type { Clock } from '@robustmq/core';
import { OperatingError } from '@robustmq/core';
import { decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from 'jose';

import type { Authenticator } from '../authenticator.ts';
import { identityOf, type Login, principalOf } from '../principal.ts';
import { fillText } from '../rules/placeholder.ts';
import { allow, deny, ignore, unavailable, type Verdict } from '../verdict.ts';
import { parseAclList } from './acl-list.ts';
import type { TokenKeys, VerificationKey } from './token-keys.ts';

export interface TokenAuthenticatorOptions {
  readonly keys: TokenKeys;
  readonly clock: Clock;
  /** The field of the login that holds the token. */
  readonly from?: 'password' | 'username';
  readonly issuer?: readonly string[] | undefined;
  readonly audience?: readonly string[] | undefined;
  /** Claims with the values that they have to have; `${username}` and `${clientid}` are the login's. */
  readonly claims?: Readonly<Record<string, string>> | undefined;
  /** The claim that is the principal's name. */
  readonly userClaim?: string;
  readonly groupsClaim?: string;
  readonly superuserClaim?: string | undefined;
  readonly aclClaim?: string;
  /** Whether a token without `exp` is taken. */
  readonly expiryRequired?: boolean;
}

/** How far clocks may be apart. */
const clockToleranceSeconds = 30;
const tokenBytesMax = 16 * 1024;
const compactForm = /^[\w-]+\.[\w-]+\.[\w-]*$/;

/** JSON Web Tokens (packages/auth/DESIGN.md, "Tokens"). */
export class TokenAuthenticator implements Authenticator {
  readonly name = 'token';
  readonly #options: TokenAuthenticatorOptions;

  constructor(options: TokenAuthenticatorOptions) {
    this.#options = options;
  }

  async check(login: Login): Promise<Verdict> {
    const text = this.#tokenOf(login);
    if (text === undefined) return ignore;
    try {
      const claims = await this.#verified(text);
      return claims === undefined ? deny('a token by an unknown key') : this.#judge(claims, login);
    } catch (thrown) {
      if (thrown instanceof OperatingError && thrown.code === 'UNAVAILABLE') {
        return unavailable(thrown.message);
      }
      if (thrown instanceof errors.JOSEError)
        return deny(`a token that is refused: ${thrown.code}`);
      // A key that does not fit the algorithm in the token's header.
      if (thrown instanceof TypeError) return deny('a token by another kind of key');
      throw thrown;
    }
  }

  #tokenOf({ userName, password }: Login): string | undefined {
    const { from = 'password' } = this.#options;
    const text = from === 'username' ? userName : password?.toString('latin1');
    const isToken = text !== undefined && text.length <= tokenBytesMax && compactForm.test(text);
    return isToken && isJsonHeader(text) ? text : undefined;
  }

  /** Its claims; undefined: no key fits. */
  async #verified(text: string): Promise<JWTPayload | undefined> {
    const header = decodeProtectedHeader(text);
    const { alg } = header;
    const { algorithms } = this.#options.keys;
    if (alg === undefined || !algorithms.includes(alg)) {
      throw new errors.JOSEAlgNotAllowed('the algorithm is not allowed');
    }
    const keys = await this.#options.keys.find({ ...header, alg });
    for (const [at, key] of keys.entries()) {
      try {
        return await this.#claimsBy(key, text);
      } catch (thrown) {
        const isOther =
          thrown instanceof errors.JWSSignatureVerificationFailed || thrown instanceof TypeError;
        if (!isOther || at === keys.length - 1) throw thrown;
      }
    }
    return undefined;
  }

  async #claimsBy(key: VerificationKey, text: string): Promise<JWTPayload> {
    const { keys, clock, issuer, audience, expiryRequired = true } = this.#options;
    const { payload } = await jwtVerify(text, key, {
      algorithms: [...keys.algorithms],
      currentDate: new Date(clock.wallMs()),
      clockTolerance: clockToleranceSeconds,
      requiredClaims: expiryRequired ? ['exp'] : [],
      ...(issuer && { issuer: [...issuer] }),
      ...(audience && { audience: [...audience] }),
    });
    return payload;
  }

  #judge(claims: JWTPayload, login: Login): Verdict {
    const { userClaim = 'sub', groupsClaim = 'groups', aclClaim = 'acl' } = this.#options;
    const { superuserClaim } = this.#options;
    const userName = claims[userClaim];
    if (typeof userName !== 'string' || userName === '')
      return deny(`a token without ${userClaim}`);
    const wrong = this.#wrongClaim(claims, login);
    if (wrong !== undefined) return deny(`a token with another ${wrong}`);
    const acl = parseAclList(claims[aclClaim]);
    if (acl === undefined) return deny(`a token whose ${aclClaim} is not well formed`);
    const groups = claims[groupsClaim] ?? [];
    if (!isTexts(groups)) return deny(`a token whose ${groupsClaim} is no list of names`);
    const superuser = superuserClaim !== undefined && claims[superuserClaim] === true;
    const { exp } = claims;
    const expiresAtMs = exp === undefined ? undefined : (exp + clockToleranceSeconds) * 1000;
    return allow(identityOf(userName, { groups, superuser, expiresAtMs, ...acl }));
  }

  #wrongClaim(claims: JWTPayload, login: Login): string | undefined {
    const claimed = principalOf(login, identityOf(login.userName ?? ''));
    return Object.entries(this.#options.claims ?? {}).find(([name, wanted]) => {
      const value = claims[name];
      const text =
        typeof value === 'string' || typeof value === 'number' ? String(value) : undefined;
      return text === undefined || text !== fillText(wanted, claimed);
    })?.[0];
  }
}

/** Three parts with dots may be a password, too. */
function isJsonHeader(text: string): boolean {
  try {
    return typeof decodeProtectedHeader(text).alg === 'string';
  } catch {
    return false;
  }
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string');
}
