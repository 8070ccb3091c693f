import type { TimerWheel, WheelTimer } from '@robustmq/core';

import { encodeConnack } from '../codec/control-encoder.ts';
import { type Frame, type FrameSink, PacketFramer } from '../codec/framer.ts';
import type { PacketDecoder } from '../codec/packet-decoder.ts';
import type { ByteSink, PacketWriter } from '../codec/packet-writer.ts';
import type { ReasonCode } from '../codec/reason-code.ts';
import type { ClientSocket } from './client-socket.ts';

export interface RefusedClientContext {
  readonly wheel: TimerWheel;
  readonly decoder: PacketDecoder;
  readonly writer: PacketWriter;
  readonly packetBytesBeforeAuthMax: number;
}

/** Time to send a CONNECT, to read the answer and to close. */
const timeoutMs = 2_000;

/** A client that is not taken: its CONNECT is read, so that it can be told why, and nothing else. */
export class RefusedClient implements FrameSink, ByteSink {
  readonly #socket: ClientSocket;
  readonly #reasonCode: ReasonCode;
  readonly #context: RefusedClientContext;
  readonly #framer: PacketFramer;
  readonly #timer: WheelTimer;
  #isAnswered = false;

  private constructor(socket: ClientSocket, reasonCode: ReasonCode, context: RefusedClientContext) {
    this.#socket = socket;
    this.#reasonCode = reasonCode;
    this.#context = context;
    this.#framer = new PacketFramer(this, context.packetBytesBeforeAuthMax);
    this.#timer = context.wheel.timer(() => socket.destroy());
    this.#timer.set(timeoutMs);
    socket.on('data', (chunk) => this.#read(chunk));
    const end = (): void => socket.end();
    socket.on('end', end);
    socket.on('error', end);
    socket.on('close', () => this.#timer.cancel());
  }

  /** Tells the client why once its CONNECT is there, and closes the socket in any case. */
  static tell(
    socket: ClientSocket,
    reasonCode: ReasonCode,
    context: RefusedClientContext,
  ): RefusedClient {
    return new RefusedClient(socket, reasonCode, context);
  }

  /** What follows the CONNECT is read and forgotten: closing with bytes unread would cut the answer off. */
  #read(chunk: Buffer): void {
    if (this.#isAnswered) return;
    const wrong = this.#framer.push(chunk);
    this.#context.decoder.release();
    if (wrong !== undefined) this.#socket.end();
  }

  onFrame(frame: Frame): boolean {
    const { decoder, writer } = this.#context;
    const packet = decoder.decode(frame, undefined);
    this.#isAnswered = true;
    if (packet.kind === 'connect') {
      const { protocolVersion: version, packetBytesMax } = packet;
      const spec = { sessionPresent: false, reasonCode: this.#reasonCode };
      encodeConnack(writer, { version, packetBytesMax }, spec);
      writer.takeInto(this);
    }
    this.#socket.end();
    return false;
  }

  range(store: ArrayBufferLike, start: number, end: number): void {
    this.#socket.write(Buffer.from(store as ArrayBuffer, start, end - start));
  }
}
