import { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';

import type { WebSocket } from 'ws';

import type { ClientSocket } from './client-socket.ts';

/** Status codes of WebSocket's own ends. [RFC 6455, 7.4.1] */
const closeCode = { normal: 1000, unsupportedData: 1003, messageTooLarge: 1009 } as const;
const binary = { binary: true, compress: false } as const;

/** The socket below: TCP, or TLS over it. */
export type CarryingSocket = Duplex & Pick<ClientSocket, 'bytesRead' | 'bytesWritten'>;

export interface WebSocketClientOptions {
  /** What a client may send before it gets its first answer. */
  readonly bytesBeforeAnswerMax: number;
  /** Told why, when the client is cut off for what it sent. */
  readonly refused: (reason: string) => void;
}

/**
 * MQTT's byte stream over a WebSocket: each write is one binary frame, or all of them between cork and
 * uncork; frames of the client are chunks, wherever packets begin in them. [MQTT5-6.0.0-1, -6.0.0-2]
 */
export class WebSocketClient extends EventEmitter implements ClientSocket {
  readonly #webSocket: WebSocket;
  readonly #socket: CarryingSocket;
  readonly #options: WebSocketClientOptions;
  #corked: Buffer[] | undefined;
  /** Frames that were in what the socket had read when it was told to stop. */
  #waiting: Buffer[] | undefined;
  #isPaused = false;
  #isAnswered = false;
  #bytesBeforeAnswer = 0;

  /** `socket` is what `webSocket` was made of. */
  constructor(webSocket: WebSocket, socket: CarryingSocket, options: WebSocketClientOptions) {
    super();
    this.#webSocket = webSocket;
    this.#socket = socket;
    this.#options = options;
    webSocket.on('message', (message: Buffer, isBinary) => this.#take(message, isBinary));
    webSocket.on('error', () => this.emit('error'));
    webSocket.on('close', () => this.emit('close'));
    socket.on('drain', () => this.emit('drain'));
    socket.on('data', this.#countBeforeAnswer);
  }

  get destroyed(): boolean {
    return this.#socket.destroyed;
  }

  get writableEnded(): boolean {
    return this.#webSocket.readyState !== this.#webSocket.OPEN;
  }

  get writableLength(): number {
    return this.#socket.writableLength;
  }

  get bytesRead(): number {
    return this.#socket.bytesRead;
  }

  get bytesWritten(): number {
    return this.#socket.bytesWritten;
  }

  write(bytes: Buffer): void {
    if (this.#corked === undefined) this.#send(bytes);
    else this.#corked.push(bytes);
  }

  cork(): void {
    this.#corked ??= [];
  }

  uncork(): void {
    const corked = this.#corked ?? [];
    this.#corked = undefined;
    if (corked.length > 0) this.#send(Buffer.concat(corked));
  }

  end(): void {
    this.#webSocket.close(closeCode.normal);
  }

  destroy(): void {
    this.#webSocket.terminate();
  }

  pause(): void {
    this.#isPaused = true;
    this.#webSocket.pause();
  }

  resume(): void {
    this.#isPaused = false;
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const [index, message] of waiting.entries()) {
      if (this.#isPausedAgain()) {
        this.#waiting = waiting.slice(index);
        return;
      }
      this.emit('data', message);
    }
    if (!this.#isPausedAgain()) this.#webSocket.resume();
  }

  /** Whoever takes a chunk may pause. */
  #isPausedAgain(): boolean {
    return this.#isPaused;
  }

  #send(bytes: Buffer): void {
    if (!this.#isAnswered) {
      this.#isAnswered = true;
      this.#socket.off('data', this.#countBeforeAnswer);
    }
    this.#webSocket.send(bytes, binary);
  }

  #take(message: Buffer, isBinary: boolean): void {
    if (!isBinary) {
      this.#cutOff(closeCode.unsupportedData, 'MQTT is sent in binary frames');
    } else if (this.#isPaused) {
      this.#waiting ??= [];
      this.#waiting.push(message);
    } else {
      this.emit('data', message);
    }
  }

  /** A message is given on once it is whole, so this is where one without an end is noticed. */
  readonly #countBeforeAnswer = (chunk: Buffer): void => {
    this.#bytesBeforeAnswer += chunk.length;
    if (this.#bytesBeforeAnswer <= this.#options.bytesBeforeAnswerMax) return;
    this.#socket.off('data', this.#countBeforeAnswer);
    this.#cutOff(closeCode.messageTooLarge, 'too many bytes before the CONNECT was answered');
  };

  #cutOff(code: number, reason: string): void {
    this.#options.refused(reason);
    this.#webSocket.close(code, reason);
    this.emit('end');
  }
}
