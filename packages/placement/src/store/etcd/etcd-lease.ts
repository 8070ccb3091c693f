import { type CancelTimer, type Clock, toOperatingError } from '@robustmq/core';
import {
  etcdLeaseMethods,
  type EtcdLeaseKeepAliveRequest,
  type EtcdLeaseKeepAliveResponse,
} from '@robustmq/rpc';
import type { EtcdClient, EtcdStream } from './etcd-client.ts';

const renewEachMs = 500;
/** A member that has not answered for so long is left. */
const answerMaxMs = 1_000;
/** Giving it back is a courtesy: without it, it ends by itself. */
const revokeTimeoutMs = 1_000;

/** A lease in etcd, renewed until it is disposed or lost. */
export class EtcdLease implements AsyncDisposable {
  readonly id: number;
  readonly #client: EtcdClient;
  readonly #clock: Clock;
  readonly #ttlMs: number;
  readonly #lost = new AbortController();
  /** When the request was sent that etcd has answered last: the lease holds for its time from then. */
  #confirmedMs: number;
  /** When the request was sent that is not answered yet. */
  #sentMs: number | undefined;
  #stream: EtcdStream<EtcdLeaseKeepAliveRequest, EtcdLeaseKeepAliveResponse> | undefined;
  #opening = false;
  #cancelTimer: CancelTimer;

  private constructor(client: EtcdClient, clock: Clock, id: number, ttlMs: number, nowMs: number) {
    this.#client = client;
    this.#clock = clock;
    this.id = id;
    this.#ttlMs = ttlMs;
    this.#confirmedMs = nowMs;
    this.#cancelTimer = clock.setTimer(renewEachMs, () => this.#renew());
  }

  /** @param id a number that nobody else chooses, from 1. @param ttlMs in whole seconds. */
  static async grant(
    client: EtcdClient,
    clock: Clock,
    id: number,
    ttlMs: number,
  ): Promise<EtcdLease> {
    const nowMs = clock.monotonicMs();
    await client.call(etcdLeaseMethods.leaseGrant, { ID: id, TTL: ttlMs / 1_000 });
    return new EtcdLease(client, clock, id, ttlMs, nowMs);
  }

  /** Aborts when etcd may have ended it. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Renews it no more. */
  lose(reason: string): void {
    this.#cancelTimer();
    this.#stream?.cancel();
    this.#lost.abort(reason);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.lose('it was given back');
    try {
      await this.#client.call(etcdLeaseMethods.leaseRevoke, { ID: this.id }, revokeTimeoutMs);
    } catch (thrown) {
      toOperatingError(thrown);
    }
  }

  #renew(): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#confirmedMs >= this.#ttlMs) {
      this.lose('it was not renewed in time');
      return;
    }
    this.#cancelTimer = this.#clock.setTimer(renewEachMs, () => this.#renew());
    if (this.#sentMs !== undefined && nowMs - this.#sentMs > answerMaxMs) {
      this.#stream?.cancel();
      this.#stream = undefined;
      this.#client.leave();
    }
    if (this.#stream === undefined) void this.#open();
    else if (this.#sentMs === undefined) this.#send();
  }

  async #open(): Promise<void> {
    if (this.#opening) return;
    this.#opening = true;
    try {
      const stream = await this.#client.open(etcdLeaseMethods.leaseKeepAlive);
      stream.on('data', ({ TTL }: EtcdLeaseKeepAliveResponse) => {
        if (stream === this.#stream) this.#onAnswer(TTL);
      });
      const forget = (): void => {
        if (stream === this.#stream) this.#stream = undefined;
      };
      stream.on('error', forget);
      stream.on('end', forget);
      this.#stream = stream;
      if (this.#lost.signal.aborted) stream.cancel();
      else this.#send();
    } catch (thrown) {
      toOperatingError(thrown); // Tried again until its time is over.
    } finally {
      this.#opening = false;
    }
  }

  #send(): void {
    this.#sentMs = this.#clock.monotonicMs();
    this.#stream?.write({ ID: this.id });
  }

  #onAnswer(ttl: number): void {
    if (ttl <= 0) {
      this.lose('etcd has ended it');
      return;
    }
    this.#confirmedMs = this.#sentMs ?? this.#confirmedMs;
    this.#sentMs = undefined;
  }
}
