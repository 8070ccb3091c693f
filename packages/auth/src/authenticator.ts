import type { Login } from './principal.ts';
import { ignore, type Verdict } from './verdict.ts';

/** A member of the chain. Never rejects for what a client or a service does. */
export interface Authenticator {
  /** For logs and metrics: `users`, `token`, … */
  readonly name: string;
  check(login: Login): Promise<Verdict>;
}

/** Asks its members one after the other until one decides; all may ignore. */
export class AuthenticatorChain implements Authenticator {
  readonly name = 'chain';
  readonly members: readonly Authenticator[];

  constructor(members: readonly Authenticator[]) {
    this.members = members;
  }

  async check(login: Login): Promise<Verdict> {
    for (const member of this.members) {
      const verdict = await member.check(login);
      if (verdict.kind !== 'ignore') return verdict;
    }
    return ignore;
  }
}
