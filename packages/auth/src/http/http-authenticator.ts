import { createHmac } from 'node:crypto';

import { type Clock, OperatingError, type Random } from '@robustmq/core';

import type { Authenticator } from '../authenticator.ts';
import { ExpiringMap } from '../expiring-map.ts';
import { type Login, plainAddress } from '../principal.ts';
import { busy, deny, ignore, unavailable, type Verdict } from '../verdict.ts';
import { WorkGate } from '../work-gate.ts';
import { type Fetch, fetchBounded } from './bounded-fetch.ts';
import { verdictOf } from './http-answer.ts';

export interface HttpAuthenticatorOptions {
  readonly url: string;
  /** For example with the broker's own credentials. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly random: Random;
  readonly fetch: Fetch;
  readonly timeoutMs?: number;
  /** How long an answer is good; 0: each login is asked. */
  readonly cacheMs?: number;
  readonly cacheMax?: number;
  readonly atOnceMax?: number;
  readonly waitingMax?: number;
}

const answerBytesMax = 64 * 1024;

/** Asks a service of the operator's (packages/auth/DESIGN.md, "HTTP service"). */
export class HttpAuthenticator implements Authenticator {
  readonly name = 'http';
  readonly gate: WorkGate;
  readonly #options: HttpAuthenticatorOptions;
  readonly #answers: ExpiringMap<Verdict>;
  readonly #underWay = new Map<string, Promise<Verdict>>();
  readonly #key: Buffer;

  constructor(options: HttpAuthenticatorOptions) {
    this.#options = options;
    const { clock, random, atOnceMax = 32, waitingMax = 1_000, cacheMax = 10_000 } = options;
    this.gate = new WorkGate('requests to the HTTP service', { atOnceMax, waitingMax });
    this.#answers = new ExpiringMap(clock, cacheMax);
    this.#key = random.bytes(32);
  }

  check(login: Login): Promise<Verdict> {
    if (login.userName === undefined && login.password === undefined)
      return Promise.resolve(ignore);
    const request = requestOf(login);
    // The password is part of it, so it is kept as a hash only.
    const key = createHmac('sha256', this.#key).update(request).digest('base64');
    const known = this.#answers.get(key);
    if (known !== undefined) return Promise.resolve(this.#fresh(known));
    const same = this.#underWay.get(key);
    if (same !== undefined) return same;
    const asking = this.#ask(request, login.userName)
      .then((verdict) => this.#remember(key, verdict))
      .finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, asking);
    return asking;
  }

  async #ask(request: string, userName: string | undefined): Promise<Verdict> {
    const { url, headers, timeoutMs = 5_000, clock, fetch } = this.#options;
    const init = {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json', accept: 'application/json' },
      body: request,
    };
    const bounds = { timeoutMs, bytesMax: answerBytesMax };
    try {
      const answer = await this.gate.run(() => fetchBounded(url, init, bounds, { clock, fetch }));
      return this.#fresh(verdictOf(answer, userName));
    } catch (thrown) {
      if (!(thrown instanceof OperatingError)) throw thrown;
      const isBusy = thrown.code === 'RESOURCE_EXHAUSTED';
      return isBusy ? busy(thrown.message) : unavailable(thrown.message);
    }
  }

  /** Whoever has expired is not let in. */
  #fresh(verdict: Verdict): Verdict {
    const untilMs = verdict.kind === 'allow' ? verdict.identity.expiresAtMs : undefined;
    const isOver = untilMs !== undefined && untilMs <= this.#options.clock.wallMs();
    return isOver ? deny('the HTTP service allows until a time that is past') : verdict;
  }

  #remember(key: string, verdict: Verdict): Verdict {
    const { cacheMs = 60_000 } = this.#options;
    const isAnswer = verdict.kind === 'allow' || verdict.kind === 'deny';
    if (isAnswer && cacheMs > 0) this.#answers.set(key, verdict, cacheMs);
    return verdict;
  }
}

function requestOf({ peer, clientId, userName, password }: Login): string {
  return JSON.stringify({
    username: userName,
    password: password?.toString('utf8'),
    clientid: clientId,
    peerhost: plainAddress(peer.address),
    listener: peer.listener,
    cert_common_name: peer.certificate?.commonName,
  });
}
