import type { Clock, Logger } from '@robustmq/core';

import { ReasonCode } from '../codec/reason-code.ts';
import type { GateRefusal } from './gate.ts';

/** Why a connection does not come through the door. */
export type RefusalReason =
  | GateRefusal
  | 'proxy_network'
  | 'proxy_header'
  | 'tls'
  | 'client_certificate'
  | 'web_socket'
  | 'timeout'
  | 'accept';

/** What a client is told in its CONNACK; of the other reasons there is nobody to tell. */
export const connackReasonOf: Partial<Record<RefusalReason, ReasonCode>> = {
  connections: ReasonCode.quotaExceeded,
  address_connections: ReasonCode.quotaExceeded,
  connect_rate: ReasonCode.connectionRateExceeded,
  client_certificate: ReasonCode.notAuthorized,
};

const words: Record<RefusalReason, string> = {
  connections: 'connections are refused: there are as many as allowed',
  address_connections: 'connections are refused: there are as many of their address as allowed',
  connect_rate: 'connections are refused: more come in a second than allowed',
  proxy_network: 'connections are refused: they do not come from the networks of the proxies',
  proxy_header: 'connections are refused: their PROXY header is wrong',
  tls: 'TLS handshakes fail',
  client_certificate: 'connections are refused: the client certificate is missing or not accepted',
  web_socket: 'WebSocket upgrades are refused',
  timeout: 'connections are closed: no CONNECT could be read in time',
  accept: 'connections cannot be accepted',
};

const logEachMs = 10_000;

/** Counts those who are turned away at one listener, by reason, and logs each reason now and then. */
export class Refusals {
  /** Since the start. */
  readonly counts = new Map<RefusalReason, number>();
  readonly #listener: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #logged = new Map<RefusalReason, { atMs: number; count: number }>();

  constructor(listener: string, options: { clock: Clock; logger: Logger }) {
    this.#listener = listener;
    this.#clock = options.clock;
    this.#logger = options.logger;
  }

  /** `detail`: what is known of this one, of those that are logged. */
  add(reason: RefusalReason, detail: Readonly<Record<string, unknown>> = {}): void {
    const count = (this.counts.get(reason) ?? 0) + 1;
    this.counts.set(reason, count);
    const nowMs = this.#clock.monotonicMs();
    const logged = this.#logged.get(reason);
    if (logged !== undefined && nowMs - logged.atMs < logEachMs) return;
    this.#logged.set(reason, { atMs: nowMs, count });
    const refused = count - (logged?.count ?? 0);
    this.#logger.warn({ listener: this.#listener, reason, refused, ...detail }, words[reason]);
  }
}
