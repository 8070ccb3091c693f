import type { Http2Server } from 'node:http2';
import type { Socket } from 'node:net';
import type { Server } from '@grpc/grpc-js';

/**
 * The TCP connections of a server that has been bound. A shutdown of grpc-js waits for all of them, but ends
 * only those that it knew at its begin, and none that is still in its TLS handshake. Reached by a field that
 * is not public, as the windows are; without it a shutdown may wait for its callers.
 */
export class ServerConnections {
  readonly #open = new Set<Socket>();

  constructor(server: Server) {
    const bound: Map<Http2Server, unknown> | undefined = Reflect.get(server, 'http2Servers');
    for (const http2Server of bound?.keys() ?? []) http2Server.on('connection', this.#add);
  }

  readonly #add = (socket: Socket): void => {
    this.#open.add(socket);
    socket.once('close', () => this.#open.delete(socket));
  };

  destroy(): void {
    for (const socket of this.#open) socket.destroy();
  }
}
