import { OperatingError } from '@robustmq/core';
import type { RpcClient, Transport } from '@robustmq/rpc';
import type { Image } from './image.ts';

interface Known {
  readonly client: RpcClient;
  readonly incarnation: number;
}

/**
 * Connections to nodes, one for each address, made when they are first needed. A node that was started
 * anew gets a new one: the old one may still wait before it tries the address again.
 */
export class NodeClients implements AsyncDisposable {
  readonly #transport: Transport;
  readonly #image: Image;
  readonly #clients = new Map<string, Known>();
  #disposed = false;

  constructor(transport: Transport, image: Image) {
    this.#transport = transport;
    this.#image = image;
  }

  /** Throws CANCELLED once this is disposed. */
  at(address: string): RpcClient {
    if (this.#disposed) throw new OperatingError('CANCELLED', 'this placement orders no more');
    const incarnation = this.#incarnationAt(address);
    const known = this.#clients.get(address);
    if (known !== undefined) {
      if (known.incarnation >= incarnation) return known.client;
      void known.client[Symbol.asyncDispose]();
    }
    const client = this.#transport.connect(address, 'control');
    this.#clients.set(address, { client, incarnation });
    return client;
  }

  /** Newest incarnation of the nodes with that address. */
  #incarnationAt(address: string): number {
    let newest = 0;
    for (const { value } of this.#image.nodes.values()) {
      if (value.node?.address === address) newest = Math.max(newest, value.node.incarnation);
    }
    return newest;
  }

  /** Closes connections to addresses that no node has any more. */
  async prune(): Promise<void> {
    const used = new Set([...this.#image.nodes.values()].map((row) => row.value.node?.address));
    for (const [address, { client }] of this.#clients) {
      if (used.has(address)) continue;
      this.#clients.delete(address);
      await client[Symbol.asyncDispose]();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    const clients = [...this.#clients.values()].map(({ client }) => client);
    this.#clients.clear();
    await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()));
  }
}
