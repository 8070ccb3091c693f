import { describe, expect, it } from 'vitest';
import { PacketWriter } from './packet-writer.ts';

describe('PacketWriter', () => {
  it('writes numbers and texts', () => {
    const writer = new PacketWriter();
    writer.byte(1);
    writer.u16(0x0203);
    writer.u32(0xfffefdfc);
    writer.text('ä');
    writer.text(Buffer.of(7, 8));
    writer.text(Uint8Array.of(9));
    writer.bytes(Buffer.from('abcd'), 1, 3);
    expect(writer.take().toString('hex')).toBe('010203fffefdfc0002c3a4000207080001096263');
  });

  it('patches what was written since the last take', () => {
    const writer = new PacketWriter(16);
    writer.bytes(Buffer.alloc(5));
    writer.take();
    writer.bytes(Buffer.alloc(4));
    writer.patchU16(1, 0xabcd);
    expect(() => writer.patchU16(3, 1)).toThrow('patched');
    expect(writer.take().toString('hex')).toBe('00abcd00');
  });

  it('never touches what was taken', () => {
    const writer = new PacketWriter(16);
    const taken: Buffer[] = [];
    for (let i = 0; i < 50; i++) {
      writer.text(String(i).repeat(i % 7));
      taken.push(writer.take());
    }
    for (const [i, bytes] of taken.entries()) {
      expect(bytes.toString('latin1', 2)).toBe(String(i).repeat(i % 7));
    }
  });

  it('keeps what is unfinished when it grows', () => {
    const writer = new PacketWriter(8);
    for (let i = 0; i < 1000; i++) writer.byte(i);
    expect(writer.length).toBe(1000);
    expect(writer.view()).toEqual(Buffer.from(Array.from({ length: 1000 }, (_, i) => i & 0xff)));
  });

  it('holds nothing before the first byte, and at most a slab after a large packet', () => {
    const writer = new PacketWriter(1024);
    expect(writer.retainedBytes).toBe(0);
    writer.bytes(Buffer.alloc(100_000));
    writer.take();
    expect(writer.retainedBytes).toBeLessThanOrEqual(1024);
    writer.bytes(Buffer.alloc(100_000));
    writer.clear();
    expect(writer.retainedBytes).toBeLessThanOrEqual(1024);
    expect(writer.length).toBe(0);
  });

  it('puts several takes into one slab', () => {
    const writer = new PacketWriter(1024);
    writer.u16(1);
    const first = writer.take();
    writer.u16(2);
    expect(writer.take().buffer).toBe(first.buffer);
  });

  it('hands ranges of its slab to a sink', () => {
    const writer = new PacketWriter(8);
    const ranges: Buffer[] = [];
    const sink = {
      range: (store: ArrayBufferLike, start: number, end: number): void => {
        ranges.push(Buffer.from(store as ArrayBuffer, start, end - start));
      },
    };
    for (let i = 0; i < 20; i++) {
      writer.u16(i);
      writer.takeInto(sink);
    }
    expect(ranges.map((range) => range.readUInt16BE())).toEqual(
      Array.from({ length: 20 }, (_, i) => i),
    );
    expect(writer.length).toBe(0);
  });

  it('takes no text that its length bytes cannot say', () => {
    const writer = new PacketWriter();
    expect(() => writer.text('x'.repeat(65_536))).toThrow('65,535');
    expect(() => writer.text(Buffer.alloc(65_536))).toThrow('65,535');
  });
});
