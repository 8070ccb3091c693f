import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';

import { describe, expect, it } from 'vitest';

import { Output, OutputTurn } from './output.ts';

/** A socket whose system buffer takes so many bytes. */
class NarrowSocket extends EventEmitter {
  readonly written: Buffer[] = [];
  writableLength = 0;
  destroyed = false;
  writableEnded = false;
  corks = 0;
  takes: number;

  constructor(takes: number) {
    super();
    this.takes = takes;
  }

  write(bytes: Buffer): boolean {
    this.written.push(Buffer.from(bytes));
    const taken = Math.min(bytes.length, this.takes);
    this.takes -= taken;
    this.writableLength += bytes.length - taken;
    return this.writableLength === 0;
  }

  cork(): void {
    this.corks++;
  }

  uncork(): void {
    this.corks--;
  }
}

interface Rig {
  readonly output: Output;
  readonly turn: OutputTurn;
  readonly socket: NarrowSocket;
  readonly rooms: () => number;
}

function outputOf(takes: number, bytesMax = 1000): Rig {
  const socket = new NarrowSocket(takes);
  const turn = new OutputTurn();
  let rooms = 0;
  const owner = { roomMade: () => void rooms++ };
  // Of a socket it uses what stands there.
  const output = new Output(socket as unknown as Socket, { turn, owner, bytesMax });
  return { output, turn, socket, rooms: () => rooms };
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('Output', () => {
  it('writes the packets of a turn once, in order, whatever memory they stand in', async () => {
    const { output, turn, socket } = outputOf(1_000_000);
    for (let at = 0; at < 10; at++) {
      turn.writer.text(`own ${at}`);
      output.written();
      if (at % 3 === 0) output.packet(Buffer.from(`shared ${at}`));
    }
    expect(socket.written).toEqual([]);
    await nextTurn();
    expect(socket.written).toHaveLength(1);
    const text = socket.written[0]?.toString('latin1').replaceAll(/\0./g, '');
    expect(text).toBe(
      'own 0shared 0own 1own 2own 3shared 3own 4own 5own 6shared 6own 7own 8own 9shared 9',
    );
    expect(socket.corks).toBe(0);
  });

  it('joins packets that follow each other in memory without a copy', async () => {
    const { output, turn, socket } = outputOf(1_000_000);
    const slab = Buffer.allocUnsafeSlow(300_000);
    for (let at = 0; at < 100; at++) output.packet(slab.subarray(at * 1000, at * 1000 + 1000));
    await nextTurn();
    expect(socket.written.map(({ length }) => length)).toEqual([100_000]);
    expect(turn.writer.retainedBytes).toBe(0);
  });

  it('corks large turns of several pieces', async () => {
    const { output, socket } = outputOf(1_000_000);
    for (let at = 0; at < 3; at++) output.packet(Buffer.alloc(40_000, at));
    await nextTurn();
    expect(Buffer.concat(socket.written)).toEqual(
      Buffer.concat([0, 1, 2].map((at) => Buffer.alloc(40_000, at))),
    );
    expect(socket.corks).toBe(0);
  });

  it('writes a burst within the turn, so that it is full only if the client does not take it', async () => {
    const fast = outputOf(100_000_000, 1_000_000);
    const slow = outputOf(0, 1_000_000);
    for (const { output } of [fast, slow]) {
      for (let at = 0; at < 100; at++) if (!output.full) output.packet(Buffer.alloc(50_000));
    }
    await nextTurn();
    const bytes = ({ socket }: Rig): number => Buffer.concat(socket.written).length;
    expect(bytes(fast)).toBe(5_000_000);
    expect(bytes(slow)).toBeGreaterThan(1_000_000);
    expect(bytes(slow)).toBeLessThan(1_100_000);
  });

  it('tells once that there is room again, when the socket has drained', async () => {
    const { output, socket, rooms } = outputOf(0);
    output.packet(Buffer.alloc(1001));
    expect(output.full).toBe(true);
    output.askForRoom();
    await nextTurn();
    expect(rooms()).toBe(0);
    socket.writableLength = 0;
    output.drained();
    expect(rooms()).toBe(1);
    output.drained();
    expect(rooms()).toBe(1);
  });

  it('tells it without a drain when the system took everything at once', async () => {
    const { output, rooms } = outputOf(1_000_000);
    output.packet(Buffer.alloc(2000));
    output.askForRoom();
    await nextTurn();
    expect(output.full).toBe(false);
    expect(rooms()).toBe(1);
  });

  it('counts what is held back, and tells when it is not any more', () => {
    const { output, rooms } = outputOf(1_000_000);
    output.hold(1001);
    expect(output.full).toBe(true);
    output.askForRoom();
    output.hold(-1);
    expect(output.full).toBe(false);
    expect(rooms()).toBe(1);
  });

  it('writes nothing to a socket that was ended', async () => {
    const { output, socket } = outputOf(1_000_000);
    output.packet(Buffer.from('late'));
    socket.writableEnded = true;
    await nextTurn();
    expect(socket.written).toEqual([]);
  });
});
