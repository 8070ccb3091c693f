import type { Socket } from 'node:net';
import { CallCredentials, ChannelCredentials, type experimental } from '@grpc/grpc-js';

/**
 * Credentials of one client, after whose end no connection is made. A client of grpc-js 1.14 that is closed
 * while it waits to connect again connects all the same, and keeps that connection until the process ends.
 */
export abstract class ClosableCredentials extends ChannelCredentials {
  #closed = false;

  abstract override _isSecure(): boolean;
  /** Makes a connection of a TCP connection; rejects when it cannot be had. */
  protected abstract secure(socket: Socket): Promise<experimental.SecureConnectResult>;

  /** Once the client is closed. */
  close(): void {
    this.#closed = true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return other === this;
  }

  override _createSecureConnector(
    _target: unknown,
    _options: unknown,
    callCredentials = CallCredentials.createEmpty(),
  ): experimental.SecureConnector {
    return {
      connect: (socket) => this.#connect(socket),
      waitForReady: () => Promise.resolve(),
      getCallCredentials: () => callCredentials,
      destroy() {},
    };
  }

  async #connect(socket: Socket): Promise<experimental.SecureConnectResult> {
    this.#checkOpen();
    const connected = await this.secure(socket);
    if (this.#closed) connected.socket.destroy();
    this.#checkOpen();
    return connected;
  }

  #checkOpen(): void {
    if (this.#closed) throw new Error('the client is closed');
  }
}

/** Neither private nor authenticated. */
export class PlainCredentials extends ClosableCredentials {
  override _isSecure(): boolean {
    return false;
  }

  protected override secure(socket: Socket): Promise<experimental.SecureConnectResult> {
    return Promise.resolve({ socket, secure: false });
  }
}
