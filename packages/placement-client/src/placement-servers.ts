import { assert, type Clock, OperatingError, toOperatingError } from '@robustmq/core';
import type { CallOptions, Method, RpcClient, Transport } from '@robustmq/rpc';

/**
 * How long a server that did not answer is left alone while there are others: as long as it takes until
 * another one decides in its place. One that is stopped would hold each call for its whole timeout.
 */
const avoidedMs = 4_000;

/** The placement servers that are configured, and the one of them that answered last. */
export class PlacementServers implements AsyncDisposable {
  readonly #clients: readonly RpcClient[];
  readonly #clock: Clock;
  /** When each server failed last, by index. */
  readonly #failedMs = new Map<number, number>();
  #index = 0;
  /** Servers that were left since one answered, or since all were. */
  #left = 0;

  /** @param addresses HOST:PORT of each server; at least one. */
  constructor(transport: Transport, addresses: readonly string[], clock: Clock) {
    if (addresses.length === 0) {
      throw new OperatingError('INVALID_ARGUMENT', 'no placement address given: set --placement');
    }
    this.#clock = clock;
    this.#clients = addresses.map((address) => transport.connect(address, 'control'));
  }

  /** The server that answered last, or the first. */
  get current(): RpcClient {
    const client = this.#clients[this.#index];
    assert(client !== undefined, 'the index of the current placement server is in range');
    return client;
  }

  /**
   * Goes to the server that `error` names, or to the next, unless another caller has left `failed`
   * already. True when that one may be tried at once; else all have been, and a pause is due.
   */
  leave(failed: RpcClient, error?: OperatingError): boolean {
    if (failed !== this.current) return true;
    if (error?.code !== 'NOT_LEADER') this.#failedMs.set(this.#index, this.#clock.monotonicMs());
    this.#index = this.#hinted(error) ?? this.#next();
    this.#left++;
    if (this.#left < this.#clients.length) return true;
    this.#left = 0;
    return false;
  }

  /** The current server does what it is asked. */
  answered(): void {
    this.#failedMs.delete(this.#index);
    this.#left = 0;
  }

  /**
   * Calls the current server; while one is UNAVAILABLE or does not decide, another. Rejects with
   * UNAVAILABLE when none does.
   */
  async call<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    options: CallOptions = {},
  ): Promise<Response> {
    let lastMessage = '';
    // One more than there are: the last may name one that was away before.
    for (let tries = 0; tries <= this.#clients.length; tries++) {
      const client = this.current;
      try {
        const response = await client.call(method, request, options);
        if (client === this.current) this.answered();
        return response;
      } catch (thrown) {
        const error = toOperatingError(thrown);
        // Nobody knows whether it was done: whoever asks again asks somebody else.
        if (error.code === 'INDETERMINATE') this.leave(client, error);
        if (error.code !== 'UNAVAILABLE' && error.code !== 'NOT_LEADER') throw error;
        lastMessage = error.message;
        this.leave(client, error);
      }
      if (this.#clients.length === 1) break;
    }
    const addresses = this.#clients.map((client) => client.address).join(', ');
    throw new OperatingError('UNAVAILABLE', `placement is away (${addresses}): ${lastMessage}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#clients.map((client) => client[Symbol.asyncDispose]()));
  }

  #hinted(error: OperatingError | undefined): number | undefined {
    const address = error?.hint.address;
    const index = this.#clients.findIndex((client) => client.address === address);
    return index < 0 || index === this.#index || this.#isAvoided(index) ? undefined : index;
  }

  /** The next one that is not avoided; the next when all are. */
  #next(): number {
    const count = this.#clients.length;
    for (let step = 1; step < count; step++) {
      const index = (this.#index + step) % count;
      if (!this.#isAvoided(index)) return index;
    }
    return this.#isAvoided(this.#index) ? (this.#index + 1) % count : this.#index;
  }

  #isAvoided(index: number): boolean {
    const failedMs = this.#failedMs.get(index);
    return failedMs !== undefined && this.#clock.monotonicMs() - failedMs < avoidedMs;
  }
}
