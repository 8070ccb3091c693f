import { type Logger, offset, shardId, silentLogger } from '@robustmq/core';
import type { ReadOptions, ReadResult } from '@robustmq/journal-client';
import {
  batchLastOffset,
  type CompressionCodec,
  crc32c,
  encodeEndTransactionMarker,
  encodeFrame,
  type FrameControl,
  RecordBatchWriter,
} from '@robustmq/record-batch';
import type { AbortedTransaction } from '@robustmq/rpc';
import { describe, expect, it } from 'vitest';
import type { DecodedBatch } from './decoded-batch.ts';
import { RecordReader } from './record-reader.ts';

/** Builds a piece of a log. */
class Piece {
  readonly #frames: Buffer[] = [];
  next = 0;

  add(batch: Buffer, control: FrameControl = 'none'): this {
    const stamp = { epoch: 1, writerEpoch: 0, appendTimeMs: 1_000 + this.next, previousChain: 0 };
    const filter = Buffer.alloc(0);
    const { header } = encodeFrame({ ...stamp, control, baseOffset: this.next, filter, batch });
    this.#frames.push(header, batch);
    this.next = batchLastOffset(batch, 0) + 1;
    return this;
  }

  get frames(): Buffer {
    return Buffer.concat(this.#frames);
  }
}

interface BatchShape {
  readonly producerId?: number;
  readonly transactional?: boolean;
  readonly compression?: CompressionCodec;
}

function batchOf(values: string[], shape: BatchShape = {}): Buffer {
  const writer = new RecordBatchWriter();
  for (const value of values) writer.append(1, null, Buffer.from(value));
  const producer = shape.producerId === undefined ? {} : { producerEpoch: 0, baseSequence: 0 };
  return writer.finish({ ...shape, ...producer });
}

function abortMarker(producerId: number): Buffer {
  const producer = { producerId, producerEpoch: 0 };
  return encodeEndTransactionMarker({ end: 'abort', coordinatorEpoch: 1 }, producer, 1);
}

/** A batch whose second record claims to be longer than the batch; its CRC is right. */
function brokenBatch(): Buffer {
  const batch = batchOf(['good', 'bad']);
  batch[batch.length - 'bad'.length - 7] = 0x7e;
  batch.writeUInt32BE(crc32c(batch, 21), 17);
  return batch;
}

function readerOf(
  piece: Piece,
  aborted: AbortedTransaction[] = [],
  logger: Logger = silentLogger(),
): { reader: RecordReader; asked: ReadOptions[] } {
  const asked: ReadOptions[] = [];
  const end = offset(piece.next);
  const ends = { nextOffset: end, highWatermark: end, lastStableOffset: end };
  const result: ReadResult = { frames: piece.frames, aborted, ...ends };
  const journal = {
    read: (_shardId: number, options: ReadOptions) => {
      asked.push(options);
      return Promise.resolve(result);
    },
  };
  return { reader: new RecordReader({ journal, logger }), asked };
}

const shard = shardId(1);

async function readAll(reader: RecordReader, from = 0): Promise<string[]> {
  const values: string[] = [];
  await reader.read(shard, { fromOffset: offset(from) }, (batch) => {
    values.push(...recordsIn(batch));
    return true;
  });
  return values;
}

/** `offset:value` of each record that the cursor stands before. */
function recordsIn({ cursor, baseOffset }: DecodedBatch): string[] {
  const records: string[] = [];
  while (cursor.next()) {
    const value = cursor.buffer.toString('utf8', cursor.valueStart, cursor.valueEnd);
    records.push(`${baseOffset + cursor.offsetDelta}:${value.slice(0, 8)}`);
  }
  return records;
}

describe('RecordReader', () => {
  it('gives the records from the offset on, also within a batch, with the append time', async () => {
    const piece = new Piece().add(batchOf(['a', 'b', 'c'])).add(batchOf(['d']));
    const { reader, asked } = readerOf(piece);
    expect(await readAll(reader, 2)).toEqual(['2:c', '3:d']);
    expect(await readAll(reader, 0)).toEqual(['0:a', '1:b', '2:c', '3:d']);
    expect(asked[0]).toMatchObject({ fromOffset: 2, readCommitted: true, waitMs: 0 });
    expect(asked[1]).toMatchObject({ fromOffset: 0 });
    const times: number[] = [];
    await reader.read(shard, { fromOffset: offset(0) }, ({ appendTimeMs }) => {
      times.push(appendTimeMs);
      return true;
    });
    expect(times).toEqual([1_000, 1_003]);
  });

  it('leaves out control batches and aborted transactions, and nothing else', async () => {
    const aborted = { producerId: 7, transactional: true };
    const piece = new Piece()
      .add(batchOf(['before'], aborted))
      .add(batchOf(['gone'], aborted))
      .add(batchOf(['plain'], { producerId: 7 }))
      .add(batchOf(['other'], { producerId: 8, transactional: true }))
      .add(abortMarker(7), 'abort')
      .add(batchOf(['after'], aborted));
    const { reader } = readerOf(piece, [{ producerId: 7, firstOffset: 1 }]);
    expect(await readAll(reader)).toEqual(['0:before', '2:plain', '3:other', '5:after']);
    expect(await readAll(readerOf(piece).reader)).toHaveLength(5);
  });

  it('leaves out a batch of an aborted transaction that began before the piece', async () => {
    const piece = new Piece()
      .add(batchOf(['gone'], { producerId: 7, transactional: true }))
      .add(abortMarker(7), 'abort')
      .add(batchOf(['kept'], { producerId: 7, transactional: true }));
    const { reader } = readerOf(piece, [{ producerId: 7, firstOffset: 0 }]);
    expect(await readAll(reader)).toEqual(['2:kept']);
  });

  it('skips a broken batch whole, counts it and reports shard and offset', async () => {
    const reports: object[] = [];
    const logger = { ...silentLogger(), warn: (fields: object) => reports.push(fields) };
    const piece = new Piece()
      .add(batchOf(['a']))
      .add(brokenBatch())
      .add(batchOf(['b']));
    const { reader } = readerOf(piece, [], logger);
    expect(await readAll(reader)).toEqual(['0:a', '3:b']);
    expect(reader.brokenBatches).toBe(1);
    expect(reports).toMatchObject([{ shardId: 1, baseOffset: 1, nextOffset: 3 }]);
  });

  it.each(['gzip', 'snappy', 'lz4', 'zstd'] as const)(
    'reads %s, small on the spot and large outside the event loop, in order',
    async (compression) => {
      const noise = Array.from({ length: 5_000 }, (_, at) => `${at}:${Math.sin(at)}:${at * 7919}`);
      const large = batchOf(noise, { compression });
      expect(large.length).toBeGreaterThan(64 * 1024);
      const piece = new Piece()
        .add(batchOf(['a'], { compression }))
        .add(large)
        .add(batchOf(['z']));
      const values = await readAll(readerOf(piece).reader);
      expect(values).toHaveLength(5_002);
      expect(values[0]).toBe('0:a');
      expect(values.at(-1)).toBe('5001:z');
    },
  );

  it('reads a piece once, however often it is gone on within it', async () => {
    const piece = new Piece()
      .add(batchOf(['a']))
      .add(batchOf(['b']))
      .add(batchOf(['c']));
    const { reader, asked } = readerOf(piece);
    expect(await readAll(reader, 0)).toEqual(['0:a', '1:b', '2:c']);
    expect(await readAll(reader, 2)).toEqual(['2:c']);
    expect(asked).toHaveLength(1);
    await reader.read(shardId(2), { fromOffset: offset(0) }, () => true);
    await reader.read(shard, { fromOffset: offset(3) }, () => true);
    await reader.read(shard, { fromOffset: offset(0), filterTokens: [1] }, () => true);
    expect(asked).toHaveLength(4);
  });

  it('stops in front of the batch that is not taken', async () => {
    const { reader } = readerOf(
      new Piece()
        .add(batchOf(['a', 'b']))
        .add(batchOf(['c']))
        .add(batchOf(['d'])),
    );
    const taken: string[] = [];
    const step = await reader.read(shard, { fromOffset: offset(1) }, (batch) => {
      taken.push(...recordsIn(batch));
      return taken.length < 2;
    });
    expect(taken).toEqual(['1:b', '2:c']);
    expect(step).toMatchObject({ nextOffset: 2, highWatermark: 4 });
  });
});
