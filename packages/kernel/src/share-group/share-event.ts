import { OperatingError, unreachable } from '@robustmq/core';
import { ByteReader } from './byte-reader.ts';
import { ByteWriter } from './byte-writer.ts';
import type { OffsetRange } from './offset-ranges.ts';

/** Where a group stands in one partition. */
export interface ShareStart {
  readonly shardId: number;
  readonly offset: number;
}

export interface SharePin {
  readonly offset: number;
  readonly key: string;
}

/** How far a group is in one partition; it replaces what was known. */
export interface ShareProgress {
  readonly shardId: number;
  readonly start: number;
  readonly settled: readonly OffsetRange[];
  readonly attempts: ReadonlyMap<number, number>;
}

export interface StoredMember {
  readonly key: string;
  readonly epoch: number;
}

/** A record in the log of a coordinator of share groups. */
export type ShareEvent = { readonly groupId: string } & (
  | { readonly kind: 'created'; readonly starts: readonly ShareStart[] }
  | { readonly kind: 'removed' }
  | ({ readonly kind: 'joined' } & StoredMember)
  /** Its pins are settled. */
  | { readonly kind: 'left'; readonly key: string }
  | ({ readonly kind: 'progressed' } & ShareProgress)
  | { readonly kind: 'pinned'; readonly shardId: number; readonly pins: readonly SharePin[] }
  | { readonly kind: 'unpinned'; readonly shardId: number; readonly offsets: readonly number[] }
);

/** A group in a snapshot. */
export interface ShareGroupImage {
  readonly groupId: string;
  readonly members: readonly StoredMember[];
  readonly windows: readonly (ShareProgress & { readonly pins: readonly SharePin[] })[];
}

const kinds = {
  created: 1,
  removed: 2,
  joined: 3,
  left: 4,
  progressed: 5,
  pinned: 6,
  unpinned: 7,
} as const satisfies Record<ShareEvent['kind'], number>;
const kindByNumber: ReadonlyMap<number, ShareEvent['kind']> = new Map(
  Object.entries(kinds).map(([kind, number]) => [number, kind as ShareEvent['kind']] as const),
);
const writer = new ByteWriter();

export function encodeShareEvent(event: ShareEvent): Buffer {
  writer.byte(kinds[event.kind]).text(event.groupId);
  switch (event.kind) {
    case 'created':
      writeStarts(writer, event.starts);
      break;
    case 'removed':
      break;
    case 'joined':
      writer.text(event.key).number(event.epoch);
      break;
    case 'left':
      writer.text(event.key);
      break;
    case 'progressed':
      writeProgress(event);
      break;
    case 'pinned':
      writer.number(event.shardId);
      writePins(event.pins);
      break;
    case 'unpinned':
      writer.number(event.shardId).number(event.offsets.length);
      for (const offset of event.offsets) writer.number(offset);
      break;
    default:
      unreachable(event);
  }
  return writer.take();
}

export function decodeShareEvent(bytes: Buffer): ShareEvent {
  const reader = new ByteReader(bytes);
  const number = reader.byte();
  const groupId = reader.text();
  const kind = kindByNumber.get(number);
  switch (kind) {
    case undefined:
      throw new OperatingError(
        'UNSUPPORTED',
        `the log of share groups has a record of kind ${number}; a newer version wrote it`,
      );
    case 'created':
      return { kind, groupId, starts: readStarts(reader) };
    case 'removed':
      return { kind, groupId };
    case 'joined':
      return { kind, groupId, key: reader.text(), epoch: reader.number() };
    case 'left':
      return { kind, groupId, key: reader.text() };
    case 'progressed':
      return { kind, groupId, ...readProgress(reader) };
    case 'pinned':
      return { kind, groupId, shardId: reader.number(), pins: readPins(reader) };
    case 'unpinned':
      return { kind, groupId, shardId: reader.number(), offsets: reader.list((r) => r.number()) };
    default:
      return unreachable(kind);
  }
}

export function encodeShareGroupImage({ groupId, members, windows }: ShareGroupImage): Buffer {
  writer.text(groupId).number(members.length);
  for (const { key, epoch } of members) writer.text(key).number(epoch);
  writer.number(windows.length);
  for (const window of windows) {
    writeProgress(window);
    writePins(window.pins);
  }
  return writer.take();
}

export function decodeShareGroupImage(bytes: Buffer): ShareGroupImage {
  const reader = new ByteReader(bytes);
  return {
    groupId: reader.text(),
    members: reader.list((r) => ({ key: r.text(), epoch: r.number() })),
    windows: reader.list((r) => ({ ...readProgress(r), pins: readPins(r) })),
  };
}

export function writeStarts(into: ByteWriter, starts: readonly ShareStart[]): void {
  into.number(starts.length);
  for (const { shardId, offset } of starts) into.number(shardId).number(offset);
}

export function readStarts(reader: ByteReader): ShareStart[] {
  return reader.list((r) => ({ shardId: r.number(), offset: r.number() }));
}

function writePins(pins: readonly SharePin[]): void {
  writer.number(pins.length);
  for (const { offset, key } of pins) writer.number(offset).text(key);
}

function readPins(reader: ByteReader): SharePin[] {
  return reader.list((r) => ({ offset: r.number(), key: r.text() }));
}

/** Ranges as the distances from one end to the next, so that they take few bytes. */
function writeProgress({ shardId, start, settled, attempts }: ShareProgress): void {
  writer.number(shardId).number(start).number(settled.length);
  let last = start;
  for (const { from, to } of settled) {
    writer.number(from - last).number(to - from);
    last = to;
  }
  writer.number(attempts.size);
  for (const [offset, count] of attempts) writer.number(offset).number(count);
}

function readProgress(reader: ByteReader): ShareProgress {
  const shardId = reader.number();
  const start = reader.number();
  let last = start;
  const settled = reader.list((r) => {
    const from = last + r.number();
    last = from + r.number();
    return { from, to: last };
  });
  const attempts = new Map(reader.list((r) => [r.number(), r.number()] as const));
  return { shardId, start, settled, attempts };
}
