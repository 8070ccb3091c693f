import { OperatingError, unreachable } from '@robustmq/core';
import { BATCH_HEADER_BYTES, RecordCursor } from '@robustmq/record-batch';
import { ByteReader } from './byte-reader.ts';
import { ByteWriter } from './byte-writer.ts';
import { readStarts, type ShareStart, writeStarts } from './share-event.ts';
import type { Delivery, ShareRecord } from './share-record.ts';
import type { ShareOutcome } from './share-window.ts';

/** Makes or renews a member. */
export interface ShareJoin {
  readonly groupId: string;
  readonly key: string;
  /** Epoch of the session's grant. */
  readonly epoch: number;
  /** Its session outlives the connection. */
  readonly durable: boolean;
  /** Its session was there before, with its pins. Otherwise a former session of this key has ended. */
  readonly resumed: boolean;
  /** The most that it takes. */
  readonly delivery: Delivery;
  /** Records that it takes now. */
  readonly room: number;
  /** Where a group that is not there yet begins; a partition that is not listed begins at 0. */
  readonly starts: readonly ShareStart[];
  /** Records that its connection has and has not answered for. */
  readonly held: readonly ShareStart[];
  /** Records that its session has for good. Other pins of it never reached it. */
  readonly stored: readonly ShareStart[];
}

/** Ends a connection, or the membership. */
export interface ShareDeparture {
  readonly groupId: string;
  readonly key: string;
  readonly epoch: number;
  /** Sequence of the `join` that it ends; a later one is another connection. */
  readonly joinSequence: number;
}

/** What became of a record. */
export interface ShareAnswer {
  readonly number: number;
  readonly shardId: number;
  readonly offset: number;
  readonly outcome: ShareOutcome;
}

/** Room that a member has made. */
export interface ShareRoom {
  readonly number: number;
  readonly count: number;
}

/**
 * A command to the coordinator `share-group`. `sequence` orders those of one broker, those of `tell` by
 * themselves: one that came is not carried out again. `token` is the ownership that it is meant for.
 */
export type ShareCommand =
  | { readonly kind: 'join'; readonly sequence: number; readonly join: ShareJoin }
  | {
      readonly kind: 'part' | 'leave';
      readonly sequence: number;
      readonly departure: ShareDeparture;
    }
  | { readonly kind: 'ended'; readonly departure: ShareDeparture }
  | {
      readonly kind: 'tell';
      readonly sequence: number;
      readonly token: string;
      readonly answers: readonly ShareAnswer[];
      readonly rooms: readonly ShareRoom[];
    }
  | { readonly kind: 'take'; readonly token: string; readonly number: number };

/** The answer to `join`. */
export interface ShareJoined {
  readonly token: string;
  readonly number: number;
}

const kinds = {
  join: 1,
  part: 2,
  leave: 3,
  ended: 4,
  tell: 5,
  take: 6,
} as const satisfies Record<ShareCommand['kind'], number>;
const kindByNumber: ReadonlyMap<number, ShareCommand['kind']> = new Map(
  Object.entries(kinds).map(([kind, number]) => [number, kind as ShareCommand['kind']] as const),
);
const outcomes: readonly ShareOutcome[] = ['accepted', 'rejected', 'released'];
const writer = new ByteWriter();

export function encodeShareCommand(command: ShareCommand): Buffer {
  writer.byte(kinds[command.kind]);
  switch (command.kind) {
    case 'join':
      writer.number(command.sequence);
      writeJoin(command.join);
      break;
    case 'part':
    case 'leave':
      writer.number(command.sequence);
      writeDeparture(command.departure);
      break;
    case 'ended':
      writeDeparture(command.departure);
      break;
    case 'tell':
      writer.number(command.sequence).text(command.token);
      writeTell(command.answers, command.rooms);
      break;
    case 'take':
      writer.text(command.token).number(command.number);
      break;
    default:
      unreachable(command);
  }
  return writer.take();
}

export function decodeShareCommand(bytes: Buffer): ShareCommand {
  const reader = new ByteReader(bytes);
  const number = reader.byte();
  const kind = kindByNumber.get(number);
  switch (kind) {
    case undefined:
      throw new OperatingError(
        'UNSUPPORTED',
        `a command of kind ${number} to share groups is of a newer version; update this broker`,
      );
    case 'join':
      return { kind, sequence: reader.number(), join: readJoin(reader) };
    case 'part':
    case 'leave':
      return { kind, sequence: reader.number(), departure: readDeparture(reader) };
    case 'ended':
      return { kind, departure: readDeparture(reader) };
    case 'tell':
      return {
        kind,
        sequence: reader.number(),
        token: reader.text(),
        answers: reader.list(readAnswer),
        rooms: reader.list((r) => ({ number: r.number(), count: r.number() })),
      };
    case 'take':
      return { kind, token: reader.text(), number: reader.number() };
    default:
      return unreachable(kind);
  }
}

export function encodeJoined({ token, number }: ShareJoined): Buffer {
  return writer.text(token).number(number).take();
}

export function decodeJoined(bytes: Buffer): ShareJoined {
  const reader = new ByteReader(bytes);
  return { token: reader.text(), number: reader.number() };
}

function writeJoin(join: ShareJoin): void {
  writer.text(join.groupId).text(join.key).number(join.epoch);
  writer.flag(join.durable).flag(join.resumed).byte(join.delivery).number(join.room);
  writeStarts(writer, join.starts);
  writeStarts(writer, join.held);
  writeStarts(writer, join.stored);
}

function readJoin(reader: ByteReader): ShareJoin {
  return {
    groupId: reader.text(),
    key: reader.text(),
    epoch: reader.number(),
    durable: reader.flag(),
    resumed: reader.flag(),
    delivery: deliveryOf(reader.byte()),
    room: reader.number(),
    starts: readStarts(reader),
    held: readStarts(reader),
    stored: readStarts(reader),
  };
}

function writeDeparture({ groupId, key, epoch, joinSequence }: ShareDeparture): void {
  writer.text(groupId).text(key).number(epoch).number(joinSequence);
}

function readDeparture(reader: ByteReader): ShareDeparture {
  return {
    groupId: reader.text(),
    key: reader.text(),
    epoch: reader.number(),
    joinSequence: reader.number(),
  };
}

function writeTell(answers: readonly ShareAnswer[], rooms: readonly ShareRoom[]): void {
  writer.number(answers.length);
  for (const { number, shardId, offset, outcome } of answers) {
    writer.byte(outcomes.indexOf(outcome)).number(number).number(shardId).number(offset);
  }
  writer.number(rooms.length);
  for (const { number, count } of rooms) writer.number(number).number(count);
}

function readAnswer(reader: ByteReader): ShareAnswer {
  const outcome = outcomes[reader.byte()];
  if (outcome === undefined) {
    throw new OperatingError('UNSUPPORTED', 'an answer of a newer version; update this broker');
  }
  return { outcome, number: reader.number(), shardId: reader.number(), offset: reader.number() };
}

function deliveryOf(byte: number): Delivery {
  if (byte === 0 || byte === 1 || byte === 2) return byte;
  throw new OperatingError('INVALID_ARGUMENT', `${byte} is no way of delivery`);
}

// ---- the answer to `take`

/** A record on its way to a member's broker. */
export interface HandedOut {
  readonly number: number;
  readonly offset: number;
  readonly delivery: Delivery;
  readonly record: ShareRecord;
}

// Fields of a record batch, magic 2 (Kafka protocol guide, "Record Batch").
const batchLengthAt = 8;
const batchLengthFrom = 12;
const recordCountAt = 57;
const header = Buffer.alloc(BATCH_HEADER_BYTES);

/** Records of one slab that go together, in the order in which they stand there. */
function writePiece(run: readonly HandedOut[]): void {
  const [first] = run;
  if (first === undefined) return;
  const { slab } = first.record;
  writer.number(slab.shardId).number(slab.appendTimeMs).number(run.length);
  let bytes = BATCH_HEADER_BYTES;
  for (const { number, offset, delivery, record } of run) {
    writer.number(number).number(offset).byte(delivery);
    bytes += record.end - record.start;
  }
  slab.batch.copy(header, 0, 0, BATCH_HEADER_BYTES);
  header.writeInt32BE(bytes - batchLengthFrom, batchLengthAt);
  header.writeInt32BE(run.length, recordCountAt);
  writer.number(bytes).raw(header, 0, BATCH_HEADER_BYTES);
  for (const { record } of run) writer.raw(slab.batch, record.start, record.end);
}

/** The answer to `take`: the records, those of one slab as one batch. */
export function encodeHandedOut(records: readonly HandedOut[]): Buffer {
  let run: HandedOut[] = [];
  for (const each of records) {
    const last = run.at(-1)?.record;
    const goesOn =
      last === undefined || (last.slab === each.record.slab && last.start < each.record.start);
    if (!goesOn) {
      writePiece(run);
      run = [];
    }
    run.push(each);
  }
  writePiece(run);
  return writer.take();
}

/** A record as its member's broker gets it. Used again and again. */
export interface ShareArrival {
  readonly number: number;
  readonly shardId: number;
  readonly offset: number;
  readonly delivery: Delivery;
  readonly appendTimeMs: number;
  /** Stands on the record; valid during the call. */
  readonly cursor: RecordCursor;
}

const cursor = new RecordCursor();

/** Calls with every record of an answer to `take`. */
export function readHandedOut(bytes: Buffer, arrived: (arrival: ShareArrival) => void): void {
  const reader = new ByteReader(bytes);
  while (!reader.atEnd) {
    const shardId = reader.number();
    const appendTimeMs = reader.number();
    const records = reader.list((r) => ({
      number: r.number(),
      offset: r.number(),
      delivery: deliveryOf(r.byte()),
    }));
    cursor.reset(bytes, reader.skip(reader.number()));
    for (const record of records) {
      cursor.next();
      arrived({ ...record, shardId, appendTimeMs, cursor });
    }
  }
}
