import { createHmac } from 'node:crypto';

import type { Random } from '@robustmq/core';

import type { EnhancedExchange, ExchangeStep } from '../enhanced-exchange.ts';
import { identityOf, type Login, principalOf } from '../principal.ts';
import type { UserStore } from '../store/stores.ts';
import { credentialsIdOf, type User } from '../store/user.ts';
import type { Refusal } from '../verdict.ts';
import { ScramExchange } from './scram-exchange.ts';
import {
  digestBytesOf,
  parseScramKeys,
  type ScramKeys,
  type ScramMechanism,
  scramIterationsDefault,
  scramSaltBytes,
} from './scram-keys.ts';

export interface ScramLoginOptions {
  readonly mechanism: ScramMechanism;
  readonly users: UserStore;
  readonly random: Random;
  /** Makes the salts of users that there are not. */
  readonly secret: Buffer;
  readonly login: Pick<Login, 'peer' | 'clientId'>;
  /** Called once the client has said who it is: why it is not let in. */
  readonly refusalOf: (userName: string) => Refusal | undefined;
  readonly ended: (userName: string, isProven: boolean) => void;
}

/** A login by SCRAM: two messages of the client. */
export class ScramLogin implements EnhancedExchange {
  readonly method: ScramMechanism;
  readonly #options: ScramLoginOptions;
  readonly #exchange: ScramExchange;
  #userName: string | undefined;
  #user: User | undefined;
  #isAsked = false;

  constructor(options: ScramLoginOptions) {
    this.method = options.mechanism;
    this.#options = options;
    const ownNonce = options.random.bytes(18).toString('base64');
    this.#exchange = new ScramExchange(options.mechanism, ownNonce);
  }

  step(data: Buffer | undefined): Promise<ExchangeStep> {
    if (this.#userName !== undefined) return Promise.resolve(this.#finish(textOf(data)));
    // A client may leave its first message out until it is asked for it, once. [RFC 4422, section 3]
    if ((data === undefined || data.length === 0) && !this.#isAsked) {
      this.#isAsked = true;
      return Promise.resolve({ kind: 'continue', data: Buffer.alloc(0) });
    }
    return this.#begin(textOf(data));
  }

  async #begin(message: string): Promise<ExchangeStep> {
    const named = this.#exchange.begin(message);
    if (named.kind === 'failed') return denied(named.reason);
    const { userName } = named;
    const refusal = this.#options.refusalOf(userName);
    if (refusal !== undefined) return refusal;
    this.#user = await this.#options.users.find(userName);
    this.#userName = userName;
    const keys = this.#keysOf(this.#user) ?? this.#keysOfNobody(userName);
    return { kind: 'continue', data: Buffer.from(this.#exchange.challenge(keys)) };
  }

  #finish(message: string): ExchangeStep {
    const result = this.#exchange.finish(message);
    const user = this.#user;
    const isProven = result.kind === 'proven' && user !== undefined;
    this.#options.ended(this.#userName ?? '', isProven);
    if (!isProven) return denied(result.kind === 'failed' ? result.reason : 'no such user');
    const { name, groups, superuser, credentials } = user;
    const credentialsId = credentialsIdOf(credentials);
    const identity = identityOf(name, { groups, superuser, credentialsId });
    const principal = principalOf(this.#options.login, identity);
    return { kind: 'admitted', principal, data: Buffer.from(result.message) };
  }

  #keysOf(user: User | undefined): ScramKeys | undefined {
    const { mechanism } = this.#options;
    const { scramSha256, scramSha512 } = user?.credentials ?? {};
    const text = mechanism === 'SCRAM-SHA-256' ? scramSha256 : scramSha512;
    return text === undefined ? undefined : parseScramKeys(mechanism, text);
  }

  /** The same salt each time, so that nobody learns from it which users there are. */
  #keysOfNobody(userName: string): ScramKeys {
    const { mechanism, secret, random } = this.#options;
    const salt = createHmac('sha256', secret).update(`${mechanism} ${userName}`).digest();
    // No proof fits a random key.
    const key = random.bytes(digestBytesOf(mechanism));
    return {
      iterations: scramIterationsDefault,
      salt: salt.subarray(0, scramSaltBytes),
      storedKey: key,
      serverKey: key,
    };
  }
}

function textOf(data: Buffer | undefined): string {
  return data?.toString('utf8') ?? '';
}

function denied(reason: string): Refusal {
  return { kind: 'denied', credentials: true, reason: `SCRAM: ${reason}` };
}
