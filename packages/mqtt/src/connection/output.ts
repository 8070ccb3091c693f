import { TurnTask } from '@robustmq/core';

import { type ByteSink, PacketWriter } from '../codec/packet-writer.ts';
import type { ClientSocket } from '../listener/client-socket.ts';

/** Chunks of one turn up to this size are copied into one, so that the socket is written once. */
const joinBytesMax = 64 * 1024;
/** With so much the socket is written within the turn: a burst is bounded by what the client takes. */
const writeBytes = 128 * 1024;

/** What has gone out. */
export interface OutputCounters {
  packetsOut: number;
  bytesOut: number;
}

/** Writes the sockets that got something in this turn, each once. */
export class OutputTurn {
  readonly counters: OutputCounters;
  /** Where packets for one client alone are encoded; taken at once by {@link Output.packet}. */
  readonly writer = new PacketWriter();
  #outputs: Output[] = [];
  readonly #task = new TurnTask(() => this.#flush());

  constructor(counters: OutputCounters = { packetsOut: 0, bytesOut: 0 }) {
    this.counters = counters;
  }

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

/** Whose output it is. */
export interface OutputOwner {
  /** The output is not full any more. Called once for {@link Output.askForRoom}. */
  roomMade(): void;
}

/**
 * Bytes on their way to one socket. Packets are views of buffers that others share (a turn's encoded
 * messages) or that were written for this client; views that follow each other in memory become one.
 * Holds nothing between turns.
 */
export class Output implements ByteSink {
  /** Shown each packet, in order; undefined: nobody looks. */
  tap: ((packet: Buffer) => void) | undefined;
  readonly #socket: ClientSocket;
  readonly #turn: OutputTurn;
  readonly #owner: OutputOwner;
  readonly #bytesMax: number;
  /** The run of bytes that may still grow. */
  #store: ArrayBufferLike | undefined;
  #start = 0;
  #end = 0;
  #runs: Buffer[] | undefined;
  #bytes = 0;
  #scheduled = false;
  /** Bytes in the socket when it was last written to. */
  #socketBytes = 0;
  #heldBytes = 0;
  #isAsked = false;

  constructor(
    socket: ClientSocket,
    options: { turn: OutputTurn; owner: OutputOwner; bytesMax: number },
  ) {
    this.#socket = socket;
    this.#turn = options.turn;
    this.#owner = options.owner;
    this.#bytesMax = options.bytesMax;
  }

  /** More waits than the bound: nothing else should be added that can wait or be dropped. */
  get full(): boolean {
    return this.#bytes + this.#socketBytes + this.#heldBytes > this.#bytesMax;
  }

  /** Tells the owner when it is not {@link full} any more, which it is now. */
  askForRoom(): void {
    this.#isAsked = true;
  }

  /** Counts packets that wait for something else before they are added; negative: they wait no more. */
  hold(bytes: number): void {
    this.#heldBytes += bytes;
    if (bytes < 0) this.#tell();
  }

  /** The socket has taken everything. */
  drained(): void {
    this.#socketBytes = 0;
    this.#tell();
  }

  /** Adds a packet. Nobody writes to its bytes again. */
  packet(packet: Buffer): void {
    const start = packet.byteOffset;
    this.range(packet.buffer, start, start + packet.length);
  }

  /** Adds a packet as a range of the memory that it stands in. */
  range(store: ArrayBufferLike, start: number, end: number): void {
    if (this.#bytes >= writeBytes) this.#writeOut();
    this.#bytes += end - start;
    this.#turn.counters.packetsOut++;
    this.tap?.(Buffer.from(store as ArrayBuffer, start, end - start));
    if (this.#store === store && this.#end === start) {
      this.#end = end;
      return;
    }
    this.#closeRun();
    this.#store = store;
    this.#start = start;
    this.#end = end;
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#turn.add(this);
  }

  /** Adds what was just encoded into the turn's writer. */
  written(): void {
    this.#turn.writer.takeInto(this);
  }

  /** Hands everything to the socket. */
  flush(): void {
    this.#scheduled = false;
    if (this.#bytes === 0) return;
    this.#writeOut();
    this.#tell();
  }

  #writeOut(): void {
    this.#closeRun();
    const runs = this.#runs ?? [];
    const bytes = this.#bytes;
    this.#runs = undefined;
    this.#bytes = 0;
    if (this.#socket.destroyed || this.#socket.writableEnded) return;
    this.#turn.counters.bytesOut += bytes;
    this.#write(runs, bytes);
    this.#socketBytes = this.#socket.writableLength;
  }

  #write(runs: readonly Buffer[], bytes: number): void {
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
  }

  #tell(): void {
    if (!this.#isAsked || this.full) return;
    this.#isAsked = false;
    this.#owner.roomMade();
  }

  #closeRun(): void {
    if (this.#store === undefined) return;
    const run = Buffer.from(this.#store as ArrayBuffer, this.#start, this.#end - this.#start);
    if (this.#runs === undefined) this.#runs = [run];
    else this.#runs.push(run);
    this.#store = undefined;
  }
}
