import type { RpcClient, Transport } from '@robustmq/rpc';
import type { Image } from './image.ts';

/** Connections to nodes, one for each address, made when they are first needed. */
export class NodeClients implements AsyncDisposable {
  readonly #transport: Transport;
  readonly #image: Image;
  readonly #clients = new Map<string, RpcClient>();

  constructor(transport: Transport, image: Image) {
    this.#transport = transport;
    this.#image = image;
  }

  at(address: string): RpcClient {
    let client = this.#clients.get(address);
    if (client === undefined) {
      client = this.#transport.connect(address, 'control');
      this.#clients.set(address, client);
    }
    return client;
  }

  /** Closes connections to addresses that no node has any more. */
  async prune(): Promise<void> {
    const used = new Set([...this.#image.nodes.values()].map((row) => row.value.node?.address));
    for (const [address, client] of this.#clients) {
      if (used.has(address)) continue;
      this.#clients.delete(address);
      await client[Symbol.asyncDispose]();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const clients = [...this.#clients.values()];
    this.#clients.clear();
    await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()));
  }
}
