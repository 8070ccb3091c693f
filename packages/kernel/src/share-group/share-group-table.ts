import { assert, unreachable } from '@robustmq/core';
import { entitiesOf, type Entity, EntityTable } from '../coordinator/entity-table.ts';
import { type OffsetRange, OffsetRanges } from './offset-ranges.ts';
import {
  decodeShareGroupImage,
  encodeShareGroupImage,
  type ShareEvent,
  type ShareProgress,
} from './share-event.ts';
import type { ShareWindowImage } from './share-window.ts';

/** A window as the log has it. */
interface StoredWindow extends ShareWindowImage {
  start: number;
  settled: readonly OffsetRange[];
  attempts: ReadonlyMap<number, number>;
  readonly pins: Map<number, string>;
}

/** A share group as the log has it. */
export interface StoredShareGroup extends Entity {
  readonly groupId: string;
  /** Epochs of the durable members, by key. */
  readonly members: Map<string, number>;
  /** By shard. */
  readonly windows: Map<number, StoredWindow>;
}

/** The logged share groups of one coordinator as a fold over its events. Pure. */
export class ShareGroupTable {
  readonly #groups = new EntityTable<string, StoredShareGroup>((_, group) => imageOf(group));

  get size(): number {
    return this.#groups.size;
  }

  get(groupId: string): Readonly<StoredShareGroup> | undefined {
    return this.#groups.get(groupId);
  }

  groups(): IterableIterator<[string, Readonly<StoredShareGroup>]> {
    return this.#groups.entries();
  }

  apply(event: ShareEvent): void {
    const { groupId } = event;
    switch (event.kind) {
      case 'created': {
        const windows = event.starts.map(({ shardId, offset }) => {
          const progress = { start: offset, settled: [], attempts: new Map<number, number>() };
          return [shardId, { ...progress, pins: new Map<number, string>() }] as const;
        });
        const group = { snapshotMark: 0, groupId, members: new Map(), windows: new Map(windows) };
        this.#groups.set(groupId, group);
        return;
      }
      case 'removed':
        this.#groups.delete(groupId);
        return;
      case 'joined':
        this.#edit(groupId).members.set(event.key, event.epoch);
        return;
      case 'left':
        leave(this.#edit(groupId), event.key);
        return;
      case 'progressed':
        progress(this.#edit(groupId), event);
        return;
      case 'pinned': {
        const { pins } = windowOf(this.#edit(groupId), event.shardId);
        for (const { offset, key } of event.pins) pins.set(offset, key);
        return;
      }
      case 'unpinned': {
        const { pins } = windowOf(this.#edit(groupId), event.shardId);
        for (const offset of event.offsets) pins.delete(offset);
        return;
      }
      default:
        unreachable(event);
    }
  }

  snapshot(): Iterator<Buffer> {
    return this.#groups.snapshot();
  }

  restoreChunk(chunk: Buffer): void {
    for (const piece of entitiesOf(chunk)) {
      const { groupId, members, windows } = decodeShareGroupImage(piece);
      this.#groups.set(groupId, {
        snapshotMark: 0,
        groupId,
        members: new Map(members.map(({ key, epoch }) => [key, epoch])),
        windows: new Map(
          windows.map(({ shardId, start, settled, attempts, pins }) => [
            shardId,
            { start, settled, attempts, pins: new Map(pins.map((pin) => [pin.offset, pin.key])) },
          ]),
        ),
      });
    }
  }

  #edit(groupId: string): StoredShareGroup {
    const group = this.#groups.edit(groupId);
    assert(group !== undefined, 'only a group that exists changes');
    return group;
  }
}

function windowOf({ windows }: StoredShareGroup, shardId: number): StoredWindow {
  let window = windows.get(shardId);
  if (window === undefined) {
    window = { start: 0, settled: [], attempts: new Map(), pins: new Map() };
    windows.set(shardId, window);
  }
  return window;
}

/** What is pinned to it is settled: nobody else may get it. */
function leave(group: StoredShareGroup, key: string): void {
  group.members.delete(key);
  for (const window of group.windows.values()) {
    const settled = new OffsetRanges(window.settled);
    for (const [offset, holder] of window.pins) {
      if (holder !== key) continue;
      window.pins.delete(offset);
      settled.add(offset, offset + 1);
    }
    window.settled = [...settled];
  }
}

function progress(
  group: StoredShareGroup,
  { shardId, start, settled, attempts }: ShareProgress,
): void {
  const window = windowOf(group, shardId);
  window.start = start;
  window.settled = settled;
  window.attempts = attempts;
  const ranges = new OffsetRanges(settled);
  for (const offset of window.pins.keys()) {
    if (offset < start || ranges.has(offset)) window.pins.delete(offset);
  }
}

function imageOf({ groupId, members, windows }: StoredShareGroup): Buffer {
  return encodeShareGroupImage({
    groupId,
    members: [...members].map(([key, epoch]) => ({ key, epoch })),
    windows: [...windows].map(([shardId, { start, settled, attempts, pins }]) => ({
      shardId,
      start,
      settled,
      attempts,
      pins: [...pins].map(([offset, key]) => ({ offset, key })),
    })),
  });
}
