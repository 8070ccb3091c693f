import type { Socket } from 'node:net';

import { TurnTask } from '@robustmq/core';

import { PacketWriter } from '../codec/packet-writer.ts';

/** Chunks of one turn up to this size are copied into one, so that the socket is written once. */
const joinBytesMax = 64 * 1024;

/** Writes the sockets that got something in this turn, each once. */
export class OutputTurn {
  /** Where packets for one client alone are encoded; taken at once by {@link Output.packet}. */
  readonly writer = new PacketWriter();
  #outputs: Output[] = [];
  readonly #task = new TurnTask(() => this.#flush());

  add(output: Output): void {
    this.#outputs.push(output);
    this.#task.schedule();
  }

  #flush(): void {
    const outputs = this.#outputs;
    this.#outputs = [];
    for (const output of outputs) output.flush();
  }
}

/**
 * Bytes on their way to one socket. Packets are views of buffers that others share (a turn's encoded
 * messages) or that were written for this client; views that follow each other in memory become one.
 * Holds nothing between turns.
 */
export class Output {
  readonly #socket: Socket;
  readonly #turn: OutputTurn;
  /** The run of bytes that may still grow. */
  #store: ArrayBufferLike | undefined;
  #start = 0;
  #end = 0;
  #runs: Buffer[] | undefined;
  #bytes = 0;
  #scheduled = false;
  /** Bytes in the socket when it was last written to. */
  #socketBytes = 0;
  readonly #bytesMax: number;

  constructor(socket: Socket, turn: OutputTurn, bytesMax: number) {
    this.#socket = socket;
    this.#turn = turn;
    this.#bytesMax = bytesMax;
  }

  /** More waits than the bound: nothing else should be added that can wait or be dropped. */
  get full(): boolean {
    return this.#bytes + this.#socketBytes > this.#bytesMax;
  }

  /** The socket has taken everything. */
  drained(): void {
    this.#socketBytes = 0;
  }

  /** Adds a packet. Nobody writes to its bytes again. */
  packet(packet: Buffer): void {
    const start = packet.byteOffset;
    this.#bytes += packet.length;
    if (this.#store === packet.buffer && this.#end === start) {
      this.#end = start + packet.length;
      return;
    }
    this.#closeRun();
    this.#store = packet.buffer;
    this.#start = start;
    this.#end = start + packet.length;
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#turn.add(this);
  }

  /** Adds what was just encoded into the turn's writer. */
  written(): void {
    this.packet(this.#turn.writer.take());
  }

  /** Hands everything to the socket. */
  flush(): void {
    this.#scheduled = false;
    if (this.#bytes === 0) return;
    this.#closeRun();
    const runs = this.#runs ?? [];
    this.#runs = undefined;
    const bytes = this.#bytes;
    this.#bytes = 0;
    if (this.#socket.destroyed) return;
    const [first] = runs;
    if (runs.length === 1 && first) {
      this.#socket.write(first);
    } else if (bytes <= joinBytesMax) {
      this.#socket.write(Buffer.concat(runs, bytes));
    } else {
      this.#socket.cork();
      for (const run of runs) this.#socket.write(run);
      this.#socket.uncork();
    }
    this.#socketBytes = this.#socket.writableLength;
  }

  #closeRun(): void {
    if (this.#store === undefined) return;
    const run = Buffer.from(this.#store as ArrayBuffer, this.#start, this.#end - this.#start);
    if (this.#runs === undefined) this.#runs = [run];
    else this.#runs.push(run);
    this.#store = undefined;
  }
}
