import type { Clock, Logger, Random } from '@robustmq/core';

import { type Authenticator, AuthenticatorChain } from './authenticator.ts';
import type { EnhancedExchange } from './enhanced-exchange.ts';
import { BanTable } from './guard/ban-table.ts';
import type { FlappingGuard } from './guard/flapping-guard.ts';
import type { LoginGuard } from './guard/login-guard.ts';
import {
  type Identity,
  type Login,
  plainAddress,
  type Principal,
  principalOf,
} from './principal.ts';
import { PrincipalAccess } from './rules/principal-access.ts';
import { RuleSet } from './rules/rule-set.ts';
import { isScramMechanism, type ScramMechanism } from './scram/scram-keys.ts';
import { ScramLogin } from './scram/scram-login.ts';
import { Listeners } from './store/listeners.ts';
import type { BanStore, RuleStore, UserStore } from './store/stores.ts';
import { credentialsIdOf } from './store/user.ts';
import type { LoginResult, Refusal, Unavailable, Verdict } from './verdict.ts';

const loggedLengthMax = 64;

/** Who can vouch for a client. */
export interface Members {
  /** In the order in which they are asked. */
  readonly chain: readonly Authenticator[];
  readonly scram: readonly ScramMechanism[];
  /** Makes the salts of users that there are not. */
  readonly scramSecret: Buffer;
}

/** Who keeps others out. */
export interface Guards {
  readonly login: LoginGuard;
  /** Undefined: who comes and goes is let in. */
  readonly flapping: FlappingGuard | undefined;
}

export interface AccessControlOptions {
  readonly users: UserStore;
  readonly rules: RuleStore;
  readonly bans: BanStore;
  readonly members: Members;
  readonly guards: Guards;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** What has become of a principal that is connected. */
export type Review =
  | { readonly kind: 'keep'; readonly principal: Principal }
  | {
      readonly kind: 'ended';
      readonly because: 'ban' | 'user' | 'expiry';
      readonly reason: string;
    };

/** How logins have ended; plain numbers, read when the metrics are scraped. */
export interface LoginCounters {
  admitted: number;
  denied: number;
  banned: number;
  unavailable: number;
}

/** The door of the adapters: who somebody is, and what he may do (packages/auth/DESIGN.md). */
export class AccessControl {
  readonly counters: LoginCounters = { admitted: 0, denied: 0, banned: 0, unavailable: 0 };
  readonly #options: AccessControlOptions;
  readonly #listeners = new Listeners();
  #members: Members;
  #guards: Guards;
  #chain: AuthenticatorChain;
  #rules: RuleSet;
  #bans: BanTable;
  #warned = false;

  constructor(options: AccessControlOptions) {
    this.#options = options;
    const { users, rules, bans, members } = options;
    this.#members = members;
    this.#guards = options.guards;
    this.#chain = new AuthenticatorChain(members.chain);
    this.#rules = this.#makeRules();
    this.#bans = new BanTable(bans.bans);
    // The same store may be all three: it tells of one change once for each.
    const stores = new Set([rules.onChange, users.onChange, bans.onChange]);
    for (const watch of stores) watch(() => this.#changed());
  }

  /** Nothing is configured: everybody may do everything. */
  get open(): boolean {
    return !this.#canVouch && this.#options.rules.rules.length === 0;
  }

  /** The rules that are in force. */
  get current(): RuleSet {
    return this.#rules;
  }

  get bans(): number {
    return this.#bans.size;
  }

  get guards(): Guards {
    return this.#guards;
  }

  /** Calls `listener` after something has changed that may concern connected clients; returns what ends it. */
  onChange(listener: () => void): () => void {
    return this.#listeners.add(listener);
  }

  /** What they have counted is forgotten. */
  replaceGuards(guards: Guards): void {
    this.#guards = guards;
  }

  replaceMembers(members: Members): void {
    this.#members = members;
    this.#chain = new AuthenticatorChain(members.chain);
    this.#changed();
  }

  // ---- who is it

  /** Never rejects for what a client, a service or a store of ours does or says. */
  async login(login: Login): Promise<LoginResult> {
    const refusal = this.#refusalOf(login, login.userName);
    return this.#count(login, refusal ?? (await this.#ask(login)));
  }

  /** A login in several messages; undefined: nobody knows that method. */
  exchange(method: string, login: Pick<Login, 'peer' | 'clientId'>): EnhancedExchange | undefined {
    if (!isScramMechanism(method) || !this.#members.scram.includes(method)) return undefined;
    const { users, random } = this.#options;
    const { login: guard } = this.#guards;
    const address = plainAddress(login.peer.address);
    const exchange = new ScramLogin({
      mechanism: method,
      users,
      random,
      secret: this.#members.scramSecret,
      login,
      refusalOf: (userName) =>
        this.#refusalOf(login, userName) ?? this.#foreignIdOf(login, userName),
      ended: (userName, isProven) => {
        if (isProven) guard.succeeded(address, userName);
        else guard.failed(address, userName);
      },
    });
    return {
      method,
      step: async (data) => {
        const step = await exchange.step(data);
        if (step.kind === 'continue') return step;
        this.#count({ ...login, userName: undefined, password: undefined }, step);
        return step;
      },
    };
  }

  async #ask(login: Login): Promise<LoginResult> {
    const verdict = await this.#verdict(login);
    switch (verdict.kind) {
      case 'allow':
        return this.#admit(login, verdict.identity);
      case 'deny':
        this.#failed(login);
        return { kind: 'denied', credentials: true, reason: verdict.reason };
      case 'unavailable':
        return verdict;
      default:
        return this.#unknown(login);
    }
  }

  async #verdict(login: Login): Promise<Verdict> {
    try {
      return await this.#chain.check(login);
    } catch (thrown) {
      // A store that cannot be read, or a hash in it that is none: nobody comes in by that.
      const reason = thrown instanceof Error ? thrown.message : String(thrown);
      this.#options.logger.error({ clientId: login.clientId, reason }, 'a login cannot be decided');
      return unavailableBy(reason);
    }
  }

  #admit(login: Login, identity: Identity): LoginResult {
    const { userName } = identity;
    const refusal = this.#banOf(login, userName) ?? this.#foreignIdOf(login, userName);
    if (refusal !== undefined) return refusal;
    const address = plainAddress(login.peer.address);
    this.#guards.login.succeeded(address, login.userName ?? userName);
    return { kind: 'admitted', principal: principalOf(login, identity) };
  }

  #foreignIdOf({ clientId }: Pick<Login, 'clientId'>, userName: string): Refusal | undefined {
    const { clientIds } = this.#options.rules.settings;
    if (clientIds === 'any' || clientId === userName) return undefined;
    return { kind: 'denied', credentials: false, reason: 'the client id is not the user name' };
  }

  /** Nobody vouches for it. */
  #unknown(login: Login): LoginResult {
    if (!this.#canVouch) return { kind: 'admitted', principal: principalOf(login, undefined) };
    if (login.userName !== undefined || login.password !== undefined) {
      this.#failed(login);
      return { kind: 'denied', credentials: true, reason: 'nobody knows these credentials' };
    }
    return this.#options.rules.settings.anonymous === 'allow'
      ? { kind: 'admitted', principal: principalOf(login, undefined) }
      : { kind: 'denied', credentials: false, reason: 'no credentials, and they are wanted' };
  }

  get #canVouch(): boolean {
    return this.#options.users.hasUsers || this.#members.chain.some(({ name }) => name !== 'users');
  }

  #failed({ peer, userName }: Login): void {
    this.#guards.login.failed(plainAddress(peer.address), userName);
  }

  #refusalOf(
    login: Pick<Login, 'peer' | 'clientId'>,
    userName: string | undefined,
  ): Refusal | undefined {
    const { login: guard, flapping } = this.#guards;
    const reason =
      guard.lockOf(plainAddress(login.peer.address), userName) ?? flapping?.lockOf(login.clientId);
    return reason === undefined ? this.#banOf(login, userName) : { kind: 'banned', reason };
  }

  #banOf(
    { peer, clientId }: Pick<Login, 'peer' | 'clientId'>,
    userName: string | undefined,
  ): Refusal | undefined {
    const subject = { userName, clientId, address: peer.address };
    const ban = this.#bans.find(subject, this.#options.clock.wallMs());
    return ban && { kind: 'banned', reason: `banned by ${ban.by}: ${ban.reason}` };
  }

  #count<Result extends LoginResult>({ peer, clientId, userName }: Login, result: Result): Result {
    this.counters[result.kind]++;
    if (result.kind === 'admitted') return result;
    const { reason, kind } = result;
    // A user name may be a token, which is no secret without its end.
    const fields = {
      clientId: clientId.slice(0, loggedLengthMax),
      userName: userName?.slice(0, loggedLengthMax),
      address: peer.address,
      reason,
    };
    // Who is banned, or gives nothing, and does not stop shall not fill the log.
    const isCommon = kind === 'banned' || (kind === 'denied' && !result.credentials);
    if (isCommon) this.#options.logger.debug(fields, `a login is ${kind}`);
    else this.#options.logger.info(fields, `a login is ${kind}`);
    return result;
  }

  // ---- what may it do

  accessOf(principal: Principal): PrincipalAccess {
    return new PrincipalAccess(this, principal);
  }

  // ---- once it is connected

  connectionEnded(clientId: string): void {
    this.#guards.flapping?.ended(clientId);
  }

  /** Looks at a connected principal again. Rejects when its user cannot be looked up. */
  async review(principal: Principal): Promise<Review> {
    const { identity, clientId, address } = principal;
    const userName = identity?.userName;
    const nowMs = this.#options.clock.wallMs();
    const ban = this.#bans.find({ userName, clientId, address }, nowMs);
    if (ban !== undefined) return ended('ban', `banned by ${ban.by}: ${ban.reason}`);
    if (identity === undefined) return this.#reviewAnonymous(principal);
    const { expiresAtMs, credentialsId } = identity;
    if (expiresAtMs !== undefined && expiresAtMs <= nowMs) {
      return ended('expiry', 'the credentials have expired');
    }
    if (credentialsId === undefined) return { kind: 'keep', principal };
    const user = await this.#options.users.find(identity.userName);
    if (user === undefined) return ended('user', 'the user is deleted');
    if (credentialsIdOf(user.credentials) !== credentialsId) {
      return ended('user', 'the user has other credentials');
    }
    const { groups, superuser } = user;
    if (superuser === identity.superuser && isSame(groups, identity.groups)) {
      return { kind: 'keep', principal };
    }
    return {
      kind: 'keep',
      principal: { ...principal, identity: { ...identity, groups, superuser } },
    };
  }

  #reviewAnonymous(principal: Principal): Review {
    const isWelcome = !this.#canVouch || this.#options.rules.settings.anonymous === 'allow';
    return isWelcome
      ? { kind: 'keep', principal }
      : ended('user', 'no credentials, and they are wanted');
  }

  #changed(): void {
    this.#bans = new BanTable(this.#options.bans.bans);
    this.#rules = this.#makeRules();
    this.#listeners.tell();
  }

  #makeRules(): RuleSet {
    const { rules, users, logger } = this.#options;
    const fallback = this.open ? 'allow' : rules.settings.fallback;
    if (rules.rules.length === 0 && fallback === 'deny' && users.hasUsers && !this.#warned) {
      this.#warned = true;
      logger.warn(
        {},
        'there are users and no rules: who logs in may do nothing; add rules, or "default: allow"',
      );
    }
    return new RuleSet(rules.rules, fallback);
  }
}

function isSame(some: readonly string[], others: readonly string[]): boolean {
  return some.length === others.length && some.every((one, at) => one === others[at]);
}

function unavailableBy(reason: string): Unavailable {
  return { kind: 'unavailable', busy: false, reason };
}

function ended(because: Extract<Review, { kind: 'ended' }>['because'], reason: string): Review {
  return { kind: 'ended', because, reason };
}
