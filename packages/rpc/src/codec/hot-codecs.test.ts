import { OperatingError } from '@robustmq/core';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Status } from '../generated/robustmq/v1/common.ts';
import {
  AppendRequest,
  AppendResponse,
  type MessageFns,
  ReadRequest,
  ReadResponse,
  ReplicateRequest,
  ReplicateResponse,
  TailRequest,
  TailResponse,
} from '../generated/robustmq/v1/journal.ts';
import { appendRequestCodec, appendResponseCodec } from './append-codec.ts';
import type { MessageCodec } from './message-codec.ts';
import { readRequestCodec, readResponseCodec } from './read-codec.ts';
import { replicateRequestCodec, replicateResponseCodec } from './replicate-codec.ts';
import { tailRequestCodec, tailResponseCodec } from './tail-codec.ts';

/** Numbers around the places where a varint grows, and 0, which is not written. */
function uint(bits: number): fc.Arbitrary<number> {
  const most = 2 ** bits - 1;
  const edges = Array.from({ length: 8 }, (_, index) => 2 ** (7 * index + 7))
    .flatMap((edge) => [edge - 1, edge])
    .filter((edge) => edge <= most);
  return fc.oneof(
    fc.constantFrom(0, 1, most, ...edges),
    fc.nat({ max: Math.min(most, 2 ** 31 - 1) }),
    fc.double({ min: 0, max: most, noNaN: true }).map(Math.floor),
  );
}

const uint32 = uint(32);
const uint64 = uint(53);
const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
const text = fc
  .oneof(fc.string(), fc.string({ unit: 'binary' }))
  .map((value) => value.toWellFormed());
const list = <T>(item: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(item, { maxLength: 5 });
const enumeration = <T extends number>(...values: T[]): fc.Arbitrary<T> =>
  fc.constantFrom(...values);

const status: fc.Arbitrary<Status | undefined> = fc.option(
  fc.record({
    code: uint32,
    message: text,
    hintNodeId: text,
    hintEpoch: uint32,
    retryAfterMs: uint32,
    earliestOffset: uint64,
  }),
  { nil: undefined },
);
const aborted = list(fc.record({ producerId: uint64, firstOffset: uint64 }));

const appendRequest: fc.Arbitrary<AppendRequest> = fc.record({
  entries: list(
    fc.record({
      appendId: uint64,
      shardId: uint64,
      expectedEpoch: uint32,
      ackLevel: enumeration(0, 1, 2, 3),
      writerEpoch: uint32,
      resume: fc.boolean(),
      filter: bytes,
      batch: bytes,
    }),
  ),
});
const appendResponse: fc.Arbitrary<AppendResponse> = fc.record({
  results: list(
    fc.record({
      appendId: uint64,
      baseOffset: uint64,
      appendTimeMs: uint64,
      status,
      duplicate: fc.boolean(),
    }),
  ),
  creditBytes: uint64,
});
const readRequest: fc.Arbitrary<ReadRequest> = fc.record({
  readId: uint64,
  shardId: uint64,
  fromOffset: uint64,
  bytesMax: uint32,
  waitMs: uint32,
  isolation: enumeration(0, 1),
  filterTokens: list(uint32),
  scanBytesMax: uint32,
  generation: uint32,
  cancel: fc.boolean(),
  expectedEpoch: uint32,
});
const progress = {
  status,
  frames: bytes,
  nextOffset: uint64,
  highWatermark: uint64,
  lastStableOffset: uint64,
  segmentEnded: fc.boolean(),
  aborted,
};
const readResponse: fc.Arbitrary<ReadResponse> = fc.record({ readId: uint64, ...progress });
const tailRequest: fc.Arbitrary<TailRequest> = fc.record({
  opens: list(
    fc.record({
      tailId: uint32,
      shardId: uint64,
      fromOffset: uint64,
      isolation: enumeration(0, 1),
      filterTokens: list(uint32),
      expectedEpoch: uint32,
    }),
  ),
  closes: list(fc.record({ tailId: uint32 })),
  creditBytes: uint64,
});
const tailResponse: fc.Arbitrary<TailResponse> = fc.record({
  chunks: list(fc.record({ tailId: uint32, ...progress })),
});
const replicateRequest: fc.Arbitrary<ReplicateRequest> = fc.record({
  entries: list(
    fc.record({
      segmentId: bytes,
      epoch: uint32,
      previousLength: uint64,
      frames: bytes,
      commitLength: uint64,
      baseOffset: uint64,
    }),
  ),
});
const replicateResponse: fc.Arbitrary<ReplicateResponse> = fc.record({
  results: list(
    fc.record({
      segmentId: bytes,
      epoch: uint32,
      status,
      length: uint64,
      durableLength: uint64,
    }),
  ),
  creditBytes: uint64,
});

agrees('AppendRequest', appendRequestCodec, AppendRequest, appendRequest);
agrees('AppendResponse', appendResponseCodec, AppendResponse, appendResponse);
agrees('ReadRequest', readRequestCodec, ReadRequest, readRequest);
agrees('ReadResponse', readResponseCodec, ReadResponse, readResponse);
agrees('TailRequest', tailRequestCodec, TailRequest, tailRequest);
agrees('TailResponse', tailResponseCodec, TailResponse, tailResponse);
agrees('ReplicateRequest', replicateRequestCodec, ReplicateRequest, replicateRequest);
agrees('ReplicateResponse', replicateResponseCodec, ReplicateResponse, replicateResponse);

function agrees<Message>(
  name: string,
  codec: MessageCodec<Message>,
  generated: MessageFns<Message>,
  messages: fc.Arbitrary<Message>,
): void {
  const generatedBytes = (message: Message): Buffer =>
    Buffer.from(generated.encode(message).finish());

  /** What the hand-written code makes of bytes; it may be stricter than the generated code. */
  const value = (input: Buffer): Message | undefined => {
    try {
      return codec.deserialize(input);
    } catch (thrown) {
      expect(thrown).toBeInstanceOf(OperatingError);
      expect(thrown).toMatchObject({ code: 'INVALID_ARGUMENT' });
      return undefined;
    }
  };

  describe(`${name} agrees with the generated code`, () => {
    it('byte for byte, and value for value', () => {
      const property = fc.property(messages, (message) => {
        const written = codec.serialize(message);
        expect(written.equals(generatedBytes(message))).toBe(true);
        expect(codec.deserialize(written)).toEqual(message);
        expect(generated.decode(written)).toEqual(message);
      });
      fc.assert(property, { numRuns: 300 });
    });

    it('with the fields in any order, repeated, and unknown ones between', () => {
      const property = fc.property(
        messages,
        messages,
        fc.array(unknownField, { maxLength: 4 }),
        fc.infiniteStream(fc.nat()),
        (one, other, unknown, random) => {
          const fields = [
            ...topFields(generatedBytes(one)),
            ...topFields(generatedBytes(other)),
            ...unknown,
          ];
          const mixed = Buffer.concat(shuffled(fields, random));
          expect(codec.deserialize(mixed)).toEqual(generated.decode(mixed));
        },
      );
      fc.assert(property, { numRuns: 200 });
    });

    it('on any bytes: a value, the same one, or INVALID_ARGUMENT', () => {
      const property = fc.property(fc.uint8Array({ maxLength: 100 }), (array) => {
        const input = Buffer.from(array);
        const mine = value(input);
        if (mine !== undefined) expect(mine).toEqual(generated.decode(input));
      });
      fc.assert(property, { numRuns: 1_000 });
    });

    it('on damaged messages: a value, the same one, or INVALID_ARGUMENT', () => {
      const damage = fc.record({
        at: fc.nat(),
        by: fc.integer({ min: 1, max: 255 }),
        cut: fc.nat(),
      });
      const property = fc.property(messages, damage, (message, { at, by, cut }) => {
        const whole = generatedBytes(message);
        if (whole.length === 0) return;
        const bent = Buffer.from(whole);
        bent[at % bent.length] = ((bent[at % bent.length] ?? 0) + by) % 256;
        for (const input of [bent, whole.subarray(0, cut % whole.length)]) {
          const mine = value(input);
          if (mine !== undefined) expect(mine).toEqual(generated.decode(input));
        }
      });
      fc.assert(property, { numRuns: 500 });
    });
  });
}

/** Fields that no message of ours has, of all wire types in use. */
const unknownField: fc.Arbitrary<Buffer> = fc.constantFrom(
  Buffer.from([0x78, 0x96, 0x01]), // 15: varint
  Buffer.from([0x82, 0x7d, 0x03, 1, 2, 3]), // 2000: bytes
  Buffer.from([0x79, 1, 2, 3, 4, 5, 6, 7, 8]), // 15: fixed64
  Buffer.from([0x7d, 1, 2, 3, 4]), // 15: fixed32
  Buffer.from([0x09, 1, 2, 3, 4, 5, 6, 7, 8]), // 1, of a type that it does not have
  Buffer.from([0x15, 1, 2, 3, 4]), // 2, of a type that it does not have
);

/** The encoded fields of a message, one by one. */
function topFields(message: Buffer): Buffer[] {
  const fields: Buffer[] = [];
  let position = 0;
  const varint = (): number => {
    let result = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = message[position++] ?? 0;
      result += (byte & 0x7f) * scale;
      if (byte < 0x80) return result;
    }
  };
  while (position < message.length) {
    const start = position;
    if ((varint() & 7) === 2) {
      const length = varint();
      position += length;
    } else varint();
    fields.push(message.subarray(start, position));
  }
  return fields;
}

function shuffled<T>(items: readonly T[], random: fc.Stream<number>): T[] {
  const keyed = items.map((item) => ({ item, key: random.next().value as number }));
  return keyed.toSorted((a, b) => a.key - b.key).map(({ item }) => item);
}

describe('hot codecs', () => {
  it('copies bytes on serialize, and gives views on the received buffer on deserialize', () => {
    const batch = Buffer.alloc(1_000, 7);
    const request = AppendRequest.fromPartial({ entries: [{ appendId: 1, batch }] });
    const written = appendRequestCodec.serialize(request);
    batch.fill(0);
    const [entry] = appendRequestCodec.deserialize(written).entries;
    expect(entry?.batch.equals(Buffer.alloc(1_000, 7))).toBe(true);
    expect(entry?.batch.buffer).toBe(written.buffer);
    entry?.batch.writeUInt8(9, 0);
    expect(written.subarray(-1_000)[0]).toBe(9);
  });

  it.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])(
    'takes %s in a number field for a bug',
    (creditBytes) => {
      expect(() => appendResponseCodec.serialize({ results: [], creditBytes })).toThrow(
        'an unsigned field holds an unsigned safe integer',
      );
    },
  );

  it('takes 2^32 in a 32-bit field for a bug', () => {
    const request = ReadRequest.fromPartial({ bytesMax: 2 ** 32 });
    expect(() => readRequestCodec.serialize(request)).toThrow('unsigned safe integer');
  });

  it('refuses a number above 2^53 - 1', () => {
    const tooLarge = Buffer.from([0x10, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]);
    expect(() => appendResponseCodec.deserialize(tooLarge)).toThrow('2^53');
  });

  it('never reads a nested message beyond its end', () => {
    // entries, 2 bytes: batch of 3 bytes, of which only the outer message has room for.
    const overrun = Buffer.from([0x0a, 0x02, 0x42, 0x03, 1, 2, 3]);
    expect(() => appendRequestCodec.deserialize(overrun)).toThrow('after its message');
  });
});
