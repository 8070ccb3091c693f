import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Frame, PacketFramer } from './framer.ts';
import { bytes, CollectingSink, decodeAll, packet, samples } from './test-packets.ts';

/** Counts frames and stops after each of the given ones. */
class StoppingSink {
  readonly frames: string[] = [];
  readonly views: Frame[] = [];
  readonly #stopAfter: number;

  constructor(stopAfter = Infinity) {
    this.#stopAfter = stopAfter;
  }

  onFrame(frame: Frame): boolean {
    this.views.push({ ...frame });
    this.frames.push(frame.buffer.toString('latin1', frame.bodyStart, frame.end));
    return this.frames.length % this.#stopAfter !== 0;
  }
}

function framerOf(sink: StoppingSink, packetBytesMax = 1024): PacketFramer {
  return new PacketFramer(sink, packetBytesMax);
}

const publish = (text: string): Buffer => packet(0x30, 't', Buffer.from(text));

describe('PacketFramer', () => {
  it('gives a packet inside a chunk as a view on the chunk', () => {
    const sink = new StoppingSink();
    const chunk = bytes(publish('one'), publish('two'));
    expect(framerOf(sink).push(chunk)).toBeUndefined();
    expect(sink.views.map((frame) => frame.buffer === chunk)).toEqual([true, true]);
    expect(sink.views.map((frame) => [frame.start, frame.bodyStart, frame.end])).toEqual([
      [0, 2, 8],
      [8, 10, 16],
    ]);
  });

  it('gives the same packets byte by byte, in any chunks, and at once', () => {
    for (const version of [3, 4, 5] as const) {
      const stream = Buffer.concat(
        samples.filter((sample) => sample.version === version).map((sample) => sample.bytes),
      );
      const whole = decodeAll(stream, version);
      const inChunks = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 });
      fc.assert(
        fc.property(inChunks, (sizes) => {
          const sink = new CollectingSink(version);
          const framer = new PacketFramer(sink, 1024);
          framer.configure(version, 1024);
          let at = 0;
          for (let i = 0; at < stream.length; i++) {
            const next = at + (sizes[i % sizes.length] ?? 1);
            expect(framer.push(stream.subarray(at, next))).toBeUndefined();
            at = next;
          }
          expect(sink.packets).toEqual(whole);
          expect(framer.heldBytes).toBe(0);
        }),
        { numRuns: 30, examples: [[[1]]] },
      );
    }
  });

  it('assembles a large packet from many chunks', () => {
    const sink = new StoppingSink();
    const framer = framerOf(sink, 1 << 20);
    const whole = packet(0x30, 't', Buffer.alloc(500_000, 'x'));
    for (let at = 0; at < whole.length; at += 1000) framer.push(whole.subarray(at, at + 1000));
    expect(sink.frames[0]?.length).toBe(500_003);
    expect(framer.heldBytes).toBe(0);
  });

  it('holds no more than twice what has arrived, whatever size is announced', () => {
    const sink = new StoppingSink();
    const framer = framerOf(sink, 268_435_460);
    framer.push(Buffer.of(0x30, 0xff, 0xff, 0xff, 0x7f));
    expect(framer.heldBytes).toBeLessThanOrEqual(256);
    for (let arrived = 5; arrived < 5000; arrived += 100) {
      framer.push(Buffer.alloc(100));
      expect(framer.heldBytes).toBeLessThanOrEqual(Math.max(256, 2 * (arrived + 100)));
    }
  });

  it.each([
    ['in one chunk', [Buffer.of(0x30, 0x80, 0x08)]],
    ['in two chunks', [Buffer.of(0x30, 0x80), Buffer.of(0x08)]],
  ])('refuses a packet above the limit before it arrives, %s [MQTT5-3.2.2-15]', (_, chunks) => {
    const framer = framerOf(new StoppingSink(), 1024);
    const answers = chunks.map((chunk) => framer.push(chunk));
    expect(answers.at(-1)).toMatchObject({ reasonCode: 0x95, clause: 'MQTT5-3.2.2-15' });
  });

  it('counts the fixed header: a packet of exactly the limit passes', () => {
    const sink = new StoppingSink();
    const framer = framerOf(sink, 8);
    expect(framer.push(publish('one'))).toBeUndefined();
    expect(framer.push(publish('four'))).toMatchObject({ reasonCode: 0x95 });
    expect(sink.frames.length).toBe(1);
  });

  it.each([
    ['80 00', [0x30, 0x80, 0x00]],
    ['81 80 00', [0x30, 0x81, 0x80, 0x00]],
    ['five bytes', [0x30, 0x80, 0x80, 0x80, 0x80, 0x01]],
    ['four bytes that go on', [0x30, 0xff, 0xff, 0xff, 0xff]],
  ])('refuses a remaining length that is not minimal: %s [MQTT5-1.5.5-1]', (_, data) => {
    const wanted = { reasonCode: 0x81, clause: 'MQTT5-1.5.5-1' };
    expect(framerOf(new StoppingSink()).push(Buffer.from(data))).toMatchObject(wanted);
    const slow = framerOf(new StoppingSink());
    const answers = data.map((byte) => slow.push(Buffer.of(byte)));
    expect(answers.at(-1)).toMatchObject(wanted);
  });

  it('refuses wrong flags of every packet type but PUBLISH [MQTT5-2.1.3-1]', () => {
    for (let first = 0x10; first <= 0xff; first++) {
      const type = first >> 4;
      if (type === 3) continue;
      const right = type === 6 || type === 8 || type === 10 ? 2 : 0;
      const answer = framerOf(new StoppingSink()).push(Buffer.of(first, 0));
      if ((first & 15) === right) expect(answer).toBeUndefined();
      else expect(answer).toMatchObject({ reasonCode: 0x81, clause: 'MQTT5-2.1.3-1' });
    }
  });

  it('refuses type 0 always and type 15 before MQTT 5 [MQTT5-2.1.2]', () => {
    expect(framerOf(new StoppingSink()).push(Buffer.of(0, 0))).toMatchObject({ reasonCode: 0x81 });
    for (const version of [3, 4] as const) {
      const framer = framerOf(new StoppingSink());
      framer.configure(version, 1024);
      expect(framer.push(Buffer.of(0xf0, 0))).toMatchObject({ reasonCode: 0x81 });
    }
    expect(framerOf(new StoppingSink()).push(Buffer.of(0xf0, 0))).toBeUndefined();
  });

  it('lets MQTT 3.1 set DUP on PUBREL, SUBSCRIBE and UNSUBSCRIBE, and nobody else', () => {
    for (const first of [0x6a, 0x8a, 0xaa]) {
      const old = framerOf(new StoppingSink());
      old.configure(3, 1024);
      expect(old.push(Buffer.of(first, 0))).toBeUndefined();
      const newer = framerOf(new StoppingSink());
      newer.configure(4, 1024);
      expect(newer.push(Buffer.of(first, 0))).toMatchObject({ reasonCode: 0x81 });
    }
  });

  it('reads nothing after a fault and repeats it [MQTT5-3.1.4-6]', () => {
    const sink = new StoppingSink();
    const framer = framerOf(sink);
    const wrong = framer.push(bytes(publish('one'), 0x00, 0x00, publish('two')));
    expect(wrong).toMatchObject({ reasonCode: 0x81 });
    expect(framer.push(publish('three'))).toBe(wrong);
    expect(sink.frames).toEqual(['\x00\x01tone']);
  });

  it('stops when the sink says so and goes on in order', () => {
    const sink = new StoppingSink(2);
    const framer = framerOf(sink);
    const five = ['1', '2', '3', '4', '5'].map((text) => publish(text));
    const stream = Buffer.concat(five);
    framer.push(stream.subarray(0, stream.length - 2));
    expect(sink.frames.length).toBe(2);
    framer.push(stream.subarray(stream.length - 2));
    expect(sink.frames.length).toBe(2);
    expect(framer.heldBytes).toBeGreaterThan(0);
    framer.resume();
    expect(sink.frames.length).toBe(4);
    framer.resume();
    expect(sink.frames.map((text) => text.at(-1))).toEqual(['1', '2', '3', '4', '5']);
    expect(framer.heldBytes).toBe(0);
  });

  it('stops behind a packet that was completed from two chunks', () => {
    const sink = new StoppingSink(1);
    const framer = framerOf(sink);
    const one = publish('one');
    framer.push(one.subarray(0, 4));
    framer.push(bytes(one.subarray(4), publish('two')));
    expect(sink.frames.length).toBe(1);
    framer.resume();
    expect(sink.frames.length).toBe(2);
  });

  it('takes a new limit from the next packet on', () => {
    const framer = framerOf(new StoppingSink(), 8);
    framer.configure(5, 9);
    expect(framer.push(publish('four'))).toBeUndefined();
  });
});
