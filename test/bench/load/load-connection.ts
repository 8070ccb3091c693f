import { connect, type Socket } from 'node:net';

import { type ConnectOptions, encodeConnect, packetHeader } from './control-packets.ts';
import { PacketScanner } from './packet-scanner.ts';

/** What a connection tells its owner. */
export interface ConnectionHandler {
  /** A packet behind CONNACK; the body lies in `bytes` from `start` to `end`, during the call only. */
  packet(header: number, bytes: Buffer, start: number, end: number): void;
  /** All packets of a chunk were given. */
  chunkEnd?(): void;
  /** The connection ended although nobody here closed it. */
  lost(reason: string): void;
}

export interface ConnectionTarget {
  readonly host: string;
  readonly port: number;
  /** Largest packet that is expected. */
  readonly packetBytesMax: number;
  /** Memory to read into; connections of one thread may share it. */
  readonly readBuffer: Buffer;
}

/** One MQTT connection on a raw socket. */
export class LoadConnection {
  /** Resolves when CONNACK has accepted the connection, with its session-present flag; else rejects. */
  readonly accepted: Promise<boolean>;
  readonly #socket: Socket;
  #closed = false;

  constructor(target: ConnectionTarget, options: ConnectOptions, handler: ConnectionHandler) {
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    this.accepted = promise;
    const scanner = new PacketScanner(
      {
        packet(header, bytes, start, end) {
          if (header !== packetHeader.connack) handler.packet(header, bytes, start, end);
          else if (bytes[start + 1] === 0) resolve(bytes[start] === 1);
          else reject(new Error(`the server refused CONNECT with code ${bytes[start + 1]}`));
        },
      },
      target.packetBytesMax,
    );
    const onread = {
      buffer: target.readBuffer,
      callback: (length: number): boolean => {
        scanner.scan(target.readBuffer, length);
        handler.chunkEnd?.();
        return true;
      },
    };
    this.#socket = connect({ host: target.host, port: target.port, noDelay: true, onread });
    let reason = 'the server closed the connection';
    this.#socket.on('error', (error) => (reason = error.message));
    this.#socket.on('close', () => {
      reject(new Error(reason));
      if (!this.#closed) handler.lost(reason);
    });
    this.#socket.write(encodeConnect(options));
  }

  /** Bytes that wait in this process. */
  get unsentBytes(): number {
    return this.#socket.writableLength;
  }

  /** The bytes belong to the socket until they have left. */
  write(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  close(): void {
    this.#closed = true;
    this.#socket.destroy();
  }
}
