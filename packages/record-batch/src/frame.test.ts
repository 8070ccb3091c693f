import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limits } from '@robustmq/core';
import { batchBaseOffset, verifyBatchCrc } from './batch-header.ts';
import { RecordBatchWriter } from './batch-writer.ts';
import { encodeEndTransactionMarker } from './end-transaction-marker.ts';
import { FilterBuilder, tokensOfName } from './filter-tokens.ts';
import {
  FIRST_CHAIN,
  FRAME_HEADER_BYTES,
  frameField,
  type FrameView,
  readFrame,
  verifyFrame,
} from './frame.ts';
import { FrameCursor } from './frame-cursor.ts';
import {
  type BatchFrame,
  encodeFrame,
  encodeFrameInto,
  encodeSnapshotFrame,
  frameBytes,
} from './frame-encoder.ts';

const none = Buffer.alloc(0);

function batchOf(...values: string[]): Buffer {
  const writer = new RecordBatchWriter();
  for (const value of values) writer.append(1000, Buffer.from('a/b'), Buffer.from(value));
  return writer.finish();
}

function filterOf(name: string): Buffer {
  const builder = new FilterBuilder();
  builder.add(tokensOfName(Buffer.from(name)));
  return builder.finish();
}

function frameOf(change: Partial<BatchFrame> = {}): BatchFrame {
  return {
    epoch: 3,
    writerEpoch: 7,
    appendTimeMs: 1_700_000_000_000,
    previousChain: FIRST_CHAIN,
    control: 'none',
    baseOffset: 2 ** 33 + 1,
    filter: filterOf('a/b'),
    batch: batchOf('x', 'y'),
    ...change,
  };
}

function bytesOf(frame: BatchFrame): Buffer {
  const target = Buffer.alloc(frameBytes(frame.filter.length, frame.batch.length));
  encodeFrameInto(target, 0, frame);
  return target;
}

function viewOf(bytes: Buffer): FrameView {
  const result = readFrame(bytes);
  if (result.status !== 'ok') throw new Error(`the frame is ${JSON.stringify(result)}`);
  return result.frame;
}

/** What is wrong with a frame that may be damaged anywhere; undefined when nothing is. */
function faultOf(bytes: Buffer, previousChain = FIRST_CHAIN): string | undefined {
  const result = readFrame(bytes);
  if (result.status === 'ok') return verifyFrame(result.frame, previousChain);
  return result.status === 'incomplete' ? 'incomplete' : result.fault;
}

describe('frame', () => {
  it('has the layout of docs/journal.md, amendment 1', () => {
    const { header } = encodeFrame(frameOf({ filter: Buffer.from('01000000ff000000', 'hex') }));
    const batchBytes = batchOf('x', 'y').length;
    expect(header.length).toBe(40);
    expect(header.readUInt32LE(0)).toBe(40 + batchBytes);
    const chainless = Buffer.from(header);
    chainless.fill(0, frameField.headerCrc, frameField.kind);
    chainless.fill(0, frameField.chain, frameField.writerEpoch);
    expect(chainless.toString('hex', 4)).toBe(
      ['00000000', '00', '00', '0800', '03000000', '00000000', '07000000', '0068e5cf8b010000']
        .concat('01000000', 'ff000000')
        .join(''),
    );
  });

  it('gives back what was put in and stamps the batch without touching its body', () => {
    const frame = frameOf();
    frame.batch.writeInt32BE(-1, 12);
    const { header, chain } = encodeFrame(frame);
    expect(batchBaseOffset(frame.batch, 0)).toBe(2 ** 33 + 1);
    expect(frame.batch.readInt32BE(12)).toBe(0);
    expect(verifyBatchCrc(frame.batch, 0, frame.batch.length)).toBe(true);
    const bytes = Buffer.concat([header, frame.batch]);
    const view = viewOf(bytes);
    expect(view).toMatchObject({
      kind: 'batch',
      control: 'none',
      epoch: 3,
      writerEpoch: 7,
      chain,
      appendTimeMs: 1_700_000_000_000,
      position: 0,
      end: bytes.length,
      filterStart: FRAME_HEADER_BYTES,
      payloadStart: header.length,
    });
    expect(verifyFrame(view, FIRST_CHAIN)).toBeUndefined();
    expect(verifyFrame(view)).toBeUndefined();
    expect(verifyFrame(view, 1)).toBe('chain');
    expect(bytesOf(frameOf()).equals(bytes)).toBe(true);
  });

  it('gives another chain for other bytes, epochs, times and predecessors', () => {
    const chains = [
      frameOf(),
      frameOf({ epoch: 4 }),
      frameOf({ writerEpoch: 8 }),
      frameOf({ appendTimeMs: 1 }),
      frameOf({ previousChain: 1 }),
      frameOf({ baseOffset: 0 }),
      frameOf({ filter: none }),
      frameOf({ batch: batchOf('x', 'z') }),
    ].map((frame) => encodeFrame(frame).chain);
    expect(new Set(chains).size).toBe(chains.length);
  });

  it.each([
    ['with a filter', bytesOf(frameOf())],
    ['without a filter', bytesOf(frameOf({ filter: none }))],
    [
      'that ends a transaction',
      bytesOf(
        frameOf({
          control: 'abort',
          batch: encodeEndTransactionMarker(
            { end: 'abort', coordinatorEpoch: 1 },
            { producerId: 1, producerEpoch: 0 },
            0,
          ),
        }),
      ),
    ],
  ])('every flipped bit and every truncation of a frame %s is an error', (_name, bytes) => {
    expect(faultOf(bytes)).toBeUndefined();
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const damaged = Buffer.from(bytes);
      damaged.writeUInt8(damaged.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      expect(faultOf(damaged)).toBeDefined();
    }
    for (let end = 0; end < bytes.length; end++) {
      expect(readFrame(bytes, 0, end)).toEqual({
        status: 'incomplete',
        bytesNeeded: end < FRAME_HEADER_BYTES ? FRAME_HEADER_BYTES : bytes.length,
      });
    }
  });

  it('covers every bit of a producer snapshot, which takes no offset', () => {
    const snapshot = Buffer.from('any bytes');
    const { header, chain } = encodeSnapshotFrame(frameOf(), snapshot);
    const bytes = Buffer.concat([header, snapshot]);
    expect(viewOf(bytes)).toMatchObject({ kind: 'producer-snapshot', chain, payloadStart: 32 });
    // The log is the same with and without it.
    expect(chain).toBe(frameOf().previousChain);
    expect(faultOf(bytes)).toBeUndefined();
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const damaged = Buffer.from(bytes);
      damaged.writeUInt8(damaged.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      expect(faultOf(damaged)).toBeDefined();
    }
  });

  it.each<[string, string, (bytes: Buffer) => void]>([
    ['length 0', 'length', (bytes) => bytes.writeUInt32LE(0, 0)],
    ['a length below the filter', 'length', (bytes) => bytes.writeUInt32LE(40, 0)],
    ['a length of 4 GiB', 'length', (bytes) => bytes.writeUInt32LE(0xffffffff, 0)],
    [
      'a length beyond the end',
      'incomplete',
      (bytes) => bytes.writeUInt32LE(limits.batchBytesMax, 0),
    ],
    ['kind 2', 'kind', (bytes) => bytes.writeUInt8(2, frameField.kind)],
    ['flags 3', 'flags', (bytes) => bytes.writeUInt8(3, frameField.flags)],
    ['a commit in a plain batch', 'flags', (bytes) => bytes.writeUInt8(1, frameField.flags)],
    ['an unsafe time', 'append time', (bytes) => bytes.writeUInt32LE(0xffffffff, 28)],
    ['unsorted tokens', 'filter', (bytes) => bytes.fill(1, 32, 44)],
    ['a filter that is part of the batch', 'filter', (bytes) => bytes.writeUInt16LE(16, 10)],
    ['a batch of another length', 'batch', (bytes) => bytes.writeInt32BE(60, 44 + 8)],
    ['a batch of another magic', 'batch', (bytes) => bytes.writeInt8(1, 44 + 16)],
  ])('finds %s', (_name, fault, damage) => {
    const bytes = bytesOf(frameOf());
    damage(bytes);
    expect(faultOf(bytes)).toBe(fault);
  });

  it('refuses to be larger than the limit', () => {
    const batch = Buffer.alloc(limits.batchBytesMax - FRAME_HEADER_BYTES + 1);
    expect(() => encodeFrame(frameOf({ batch, filter: none }))).toThrow(/above/);
    expect(() => encodeSnapshotFrame(frameOf(), batch)).toThrow(/above/);
  });

  it('never throws on arbitrary bytes', () => {
    const valid = bytesOf(frameOf());
    const property = fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 40 }),
      fc.nat(valid.length - 1),
      (noise, at) => {
        const bytes = Buffer.from(valid);
        bytes.set(noise.subarray(0, bytes.length - at), at);
        if (!bytes.equals(valid)) expect(faultOf(bytes)).toBeDefined();
        faultOf(Buffer.from(noise));
      },
    );
    fc.assert(property, { numRuns: 1000 });
  });
});

describe('FrameCursor', () => {
  const first = frameOf({ baseOffset: 5 });
  const firstBytes = bytesOf(first);
  const firstChain = encodeFrame(first).chain;
  const snapshot = encodeSnapshotFrame(frameOf({ previousChain: firstChain }), Buffer.from('s'));
  const second = frameOf({ baseOffset: 7, previousChain: snapshot.chain, batch: batchOf('z') });
  const log = Buffer.concat([firstBytes, snapshot.header, Buffer.from('s'), bytesOf(second)]);

  it('walks a chain of frames', () => {
    const cursor = new FrameCursor();
    const around = Buffer.concat([Buffer.alloc(3), log, Buffer.alloc(3)]);
    cursor.reset(around, 3, 3 + log.length);
    const seen: unknown[] = [];
    let chain = FIRST_CHAIN;
    while (cursor.next() === 'frame') {
      expect(cursor.verify(chain)).toBeUndefined();
      chain = cursor.chain;
      const { kind, baseOffset, lastOffset, recordCount } = cursor;
      seen.push([kind, baseOffset, lastOffset, recordCount]);
    }
    expect(seen).toEqual([
      ['batch', 5, 6, 2],
      ['producer-snapshot', -1, -1, 0],
      ['batch', 7, 7, 1],
    ]);
    expect(cursor.end).toBe(3 + log.length);
    expect(cursor.next()).toBe('end');
  });

  it('stays before what is cut off or broken', () => {
    const cursor = new FrameCursor();
    cursor.reset(log, 0, log.length - 1);
    expect([cursor.next(), cursor.next()]).toEqual(['frame', 'frame']);
    const end = cursor.end;
    expect([cursor.next(), cursor.next(), cursor.end]).toEqual(['incomplete', 'incomplete', end]);
    const broken = Buffer.from(log);
    broken.writeUInt8(9, firstBytes.length + frameField.kind);
    cursor.reset(broken);
    expect([cursor.next(), cursor.next(), cursor.fault]).toEqual(['frame', 'corrupt', 'kind']);
    expect(cursor.end).toBe(firstBytes.length);
  });

  it('finds a batch that is missing in the chain, and does without a snapshot', () => {
    const cursor = new FrameCursor();
    cursor.reset(bytesOf(second));
    expect(cursor.next()).toBe('frame');
    expect(cursor.verify(FIRST_CHAIN)).toBe('chain');
    expect(cursor.verify(firstChain)).toBeUndefined();
  });
});
