import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** Where a connection is passed on to. */
export interface ProxyTarget {
  readonly host: string;
  readonly port: number;
}

/** Passes each TCP connection on to the next of its targets, as a load balancer without sessions does. */
export class RoundRobinProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #targets: readonly ProxyTarget[];
  readonly #sockets = new Set<Socket>();
  #next = 0;

  private constructor(targets: readonly ProxyTarget[]) {
    this.#targets = targets;
    // Either side may end before the other does.
    this.#server = createServer({ noDelay: true, allowHalfOpen: true }, (client) =>
      this.#pass(client),
    );
  }

  /** Listens on a free port of 127.0.0.1. */
  static async start(targets: readonly ProxyTarget[]): Promise<RoundRobinProxy> {
    const proxy = new RoundRobinProxy(targets);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #pass(client: Socket): void {
    const target = this.#targets[this.#next++ % this.#targets.length];
    if (target === undefined) {
      client.destroy();
      return;
    }
    const server = connect({ ...target, noDelay: true, allowHalfOpen: true });
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(one);
      one.pipe(other);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        this.#sockets.delete(one);
        other.destroy();
      });
    }
  }
}
