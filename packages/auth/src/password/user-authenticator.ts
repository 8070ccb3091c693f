import { type Logger, OperatingError, type Random } from '@robustmq/core';

import type { Authenticator } from '../authenticator.ts';
import { identityOf, type Login } from '../principal.ts';
import type { UserStore } from '../store/stores.ts';
import { credentialsIdOf, type User, upgraded } from '../store/user.ts';
import { allow, busy, deny, ignore, type Verdict } from '../verdict.ts';
import { newCredentials } from './new-credentials.ts';
import type { PasswordVerifier } from './password-verifier.ts';

export interface UserAuthenticatorOptions {
  readonly users: UserStore;
  readonly verifier: PasswordVerifier;
  readonly random: Random;
  readonly logger: Logger;
}

/** Users of the store, by password. */
export class UserAuthenticator implements Authenticator {
  readonly name = 'users';
  readonly #options: UserAuthenticatorOptions;
  readonly #upgrading = new Map<string, Promise<void>>();

  constructor(options: UserAuthenticatorOptions) {
    this.#options = options;
  }

  async check({ userName, password }: Login): Promise<Verdict> {
    const { users, verifier } = this.#options;
    if (userName === undefined || password === undefined || !users.hasUsers) return ignore;
    try {
      const user = await users.find(userName);
      const stored = user?.credentials.password;
      if (user === undefined || stored === undefined) {
        await verifier.verifyNobody(password);
        return ignore;
      }
      if (!(await verifier.verify(userName, stored, password))) return deny('a wrong password');
      if (verifier.isOld(stored)) this.#upgrade(user, password);
      const { groups, superuser, credentials } = user;
      const credentialsId = credentialsIdOf(credentials);
      return allow(identityOf(userName, { groups, superuser, credentialsId }));
    } catch (thrown) {
      const isBusy = thrown instanceof OperatingError && thrown.code === 'RESOURCE_EXHAUSTED';
      if (isBusy) return busy(thrown.message);
      throw thrown;
    }
  }

  /** Resolves once the hashes that are being upgraded are, or are not. */
  async settled(): Promise<void> {
    await Promise.all(this.#upgrading.values());
  }

  /** Nobody waits for it: if it cannot be done now, the next login tries again. */
  #upgrade(user: User, password: Buffer): void {
    const { name } = user;
    if (this.#upgrading.has(name)) return;
    const work = this.#replace(user, password).catch((thrown: unknown) => {
      const reason = thrown instanceof Error ? thrown.message : String(thrown);
      this.#options.logger.warn({ userName: name, reason }, 'an old password hash stays as it is');
    });
    this.#upgrading.set(
      name,
      work.finally(() => this.#upgrading.delete(name)),
    );
  }

  async #replace(user: User, password: Buffer): Promise<void> {
    const { users, verifier, random, logger } = this.#options;
    const made = await newCredentials(password, verifier, random);
    const isReplaced = await users.replaceCredentials(user, upgraded(user.credentials, made));
    if (isReplaced) logger.info({ userName: user.name }, 'an old password hash was upgraded');
  }
}
