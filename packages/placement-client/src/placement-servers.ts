import { assert, OperatingError, toOperatingError } from '@robustmq/core';
import type { CallOptions, Method, RpcClient, Transport } from '@robustmq/rpc';

/** The placement servers that are configured, and the one of them that answered last. */
export class PlacementServers implements AsyncDisposable {
  readonly #clients: readonly RpcClient[];
  #index = 0;

  /** @param addresses HOST:PORT of each server; at least one. */
  constructor(transport: Transport, addresses: readonly string[]) {
    if (addresses.length === 0) {
      throw new OperatingError('INVALID_ARGUMENT', 'no placement address given: set --placement');
    }
    this.#clients = addresses.map((address) => transport.connect(address, 'control'));
  }

  /** The server that answered last, or the first. */
  get current(): RpcClient {
    const client = this.#clients[this.#index];
    assert(client !== undefined, 'the index of the current placement server is in range');
    return client;
  }

  /** Goes to the next server, unless another caller has left `failed` already. */
  leave(failed: RpcClient): void {
    if (failed === this.current) this.#index = (this.#index + 1) % this.#clients.length;
  }

  /**
   * Calls the current server; while one is UNAVAILABLE, the next, each once. Rejects with
   * UNAVAILABLE when none answers.
   */
  async call<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    options: CallOptions = {},
  ): Promise<Response> {
    let lastMessage = '';
    for (let tries = 0; tries < this.#clients.length; tries++) {
      const client = this.current;
      try {
        return await client.call(method, request, options);
      } catch (thrown) {
        const error = toOperatingError(thrown);
        if (error.code !== 'UNAVAILABLE') throw error;
        lastMessage = error.message;
        this.leave(client);
      }
    }
    const addresses = this.#clients.map((client) => client.address).join(', ');
    throw new OperatingError('UNAVAILABLE', `placement is away (${addresses}): ${lastMessage}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#clients.map((client) => client[Symbol.asyncDispose]()));
  }
}
