import {
  type CatalogEntry,
  type CatalogRemoval,
  Coordinator,
  Node,
  Segment,
  SegmentState,
  type Shard,
  Topic,
  type WatchResponse,
} from '@robustmq/rpc';
import { VirtualClock } from '@robustmq/testkit';
import { beforeEach, describe, expect, it } from 'vitest';
import { Catalog } from './catalog.ts';
import { compareShards } from './shard-order.ts';

const shard = (change: Partial<Shard> = {}): Shard => ({
  shardId: 1,
  topic: 't',
  partition: 0,
  epoch: 1,
  trimOffset: 0,
  endOffset: 0,
  segments: [],
  ...change,
});
const segment = (state: SegmentState): Segment => ({ ...Segment.create({}), state });
const step = (
  revision: number,
  entries: CatalogEntry['entry'][],
  change: Partial<WatchResponse> = {},
): WatchResponse => ({
  revision,
  fullListBegins: false,
  entries: entries.map((entry) => ({ entry })),
  removals: [],
  placementEpoch: 1,
  ...change,
});
const node = (nodeId: string): CatalogEntry['entry'] => ({
  $case: 'node',
  value: Node.create({ nodeId }),
});
const topic = (name: string): CatalogEntry['entry'] => ({
  $case: 'topic',
  value: Topic.create({ name }),
});
const shardEntry = (value: Shard): CatalogEntry['entry'] => ({ $case: 'shard', value });

describe('catalog', () => {
  let catalog: Catalog;
  let clock: VirtualClock;
  let seen: string[];
  beforeEach(() => {
    clock = new VirtualClock();
    catalog = new Catalog(clock);
    seen = [];
    catalog.onChange(({ kind, before, after }) => {
      const what = before === undefined ? 'new' : after === undefined ? 'gone' : 'changed';
      seen.push(`${kind} ${what}`);
    });
  });

  it('is ready after the first full list', async () => {
    let isReady = false;
    const ready = catalog.ready().then(() => (isReady = true));
    catalog.apply(step(0, [node('a')], { fullListBegins: true }));
    await Promise.resolve();
    expect(isReady).toBe(false);
    catalog.apply(step(5, [topic('t')]));
    await ready;
    expect(catalog.revision).toBe(5);
    expect(catalog.node('a')).toBeDefined();
    expect([...catalog.topics()].map(({ name }) => name)).toEqual(['t']);
    await catalog.ready();
  });

  it('tells each change once, with what was and what is', () => {
    catalog.apply(step(1, [node('a'), topic('t'), shardEntry(shard())], { fullListBegins: true }));
    catalog.apply(step(2, [topic('t'), shardEntry(shard({ epoch: 2 }))]));
    const removals: CatalogRemoval[] = [
      { removal: { $case: 'nodeId', value: 'a' } },
      { removal: { $case: 'topic', value: 't' } },
      { removal: { $case: 'shardId', value: 1 } },
      { removal: { $case: 'shardId', value: 9 } },
    ];
    catalog.apply(step(3, [], { removals }));
    expect(seen).toEqual([
      'node new',
      'topic new',
      'shard new',
      'shard changed',
      'node gone',
      'topic gone',
      'shard gone',
    ]);
  });

  it('drops at the end of a full list what it did not show', () => {
    catalog.apply(
      step(1, [node('a'), node('b'), topic('t'), shardEntry(shard())], { fullListBegins: true }),
    );
    catalog.apply(step(0, [node('b')], { fullListBegins: true }));
    expect(catalog.node('a')).toBeDefined();
    catalog.apply(step(9, [topic('u')]));
    expect([...catalog.nodes()].map(({ nodeId }) => nodeId)).toEqual(['b']);
    expect([...catalog.topics()].map(({ name }) => name)).toEqual(['u']);
    expect(catalog.shard(1)).toBeUndefined();
    // A list that breaks off drops nothing; the next one counts.
    catalog.apply(step(0, [], { fullListBegins: true }));
    catalog.apply(step(0, [node('b'), topic('u')], { fullListBegins: true }));
    catalog.apply(step(10, []));
    expect(catalog.topic('u')).toBeDefined();
  });

  it.each<[string, Partial<Shard>, Partial<Shard>]>([
    ['a higher epoch', { epoch: 3 }, { epoch: 2, endOffset: 99, trimOffset: 99 }],
    [
      'sealed, of the same epoch',
      { endOffset: 5, segments: [segment(SegmentState.SEALED)] },
      { segments: [segment(SegmentState.SEALING)] },
    ],
    ['removed, of the same epoch', {}, { segments: [segment(SegmentState.SEALING)] }],
    ['a higher trim', { trimOffset: 5 }, { trimOffset: 4 }],
    ['a longer chain', { endOffset: 5 }, { endOffset: 4 }],
  ])('a shard never goes backwards: %s', (_, newer, older) => {
    expect(compareShards(shard(newer), shard(older))).toBeGreaterThan(0);
    expect(catalog.applyShard(shard(older))).toEqual(shard(older));
    expect(catalog.applyShard(shard(newer))).toEqual(shard(newer));
    expect(catalog.applyShard(shard(older))).toEqual(shard(newer));
    catalog.apply(step(1, [shardEntry(shard(older))]));
    expect(catalog.shard(1)).toEqual(shard(newer));
    expect(seen).toEqual(['shard new', 'shard changed']);
  });

  it('a removed shard does not come back with a late answer', () => {
    catalog.apply(step(1, [shardEntry(shard())]));
    catalog.apply(step(2, [], { removals: [{ removal: { $case: 'shardId', value: 1 } }] }));
    catalog.applyShard(shard({ epoch: 9 }));
    expect(catalog.shard(1)).toBeUndefined();
  });

  it('knows who runs which coordinator', () => {
    const entry = (index: number, ownerNodeId: string, epoch: number): CatalogEntry['entry'] => ({
      $case: 'coordinator',
      value: Coordinator.create({ kind: 'k', index, ownerNodeId, epoch }),
    });
    catalog.apply(step(1, [entry(1, 'a', 1), entry(0, 'b', 1)]));
    catalog.apply(step(2, [entry(1, 'c', 2)]));
    expect(catalog.coordinator('k', 1)?.ownerNodeId).toBe('c');
    expect(catalog.coordinators('k').map(({ ownerNodeId }) => ownerNodeId)).toEqual(['b', 'c']);
    expect(catalog.coordinators('none')).toEqual([]);
    expect(seen).toEqual(['coordinator new', 'coordinator new', 'coordinator changed']);
  });

  describe('waitFor', () => {
    const shardOne = (): Promise<Shard> => catalog.waitFor((known) => known.shard(1));

    it('finds what is there, and what comes by the watch or an answer', async () => {
      const waiting = shardOne();
      catalog.applyShard(shard());
      expect(await waiting).toEqual(shard());
      expect(await shardOne()).toEqual(shard());
      const later = catalog.waitFor((known) => known.node('a'));
      catalog.apply(step(1, [node('a')]));
      expect(await later).toMatchObject({ nodeId: 'a' });
      expect(clock.pending).toBe(0);
    });

    it('gives up after its time', async () => {
      const waiting = catalog.waitFor(() => false, { timeoutMs: 100 });
      const outcome = expect(waiting).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      await clock.advance(100);
      await outcome;
    });

    it('ends with the signal', async () => {
      const patience = new AbortController();
      const waiting = catalog.waitFor(() => false, { signal: patience.signal });
      patience.abort(new Error('enough'));
      await expect(waiting).rejects.toThrow('enough');
      await expect(catalog.waitFor(() => false, { signal: patience.signal })).rejects.toThrow();
      expect(clock.pending).toBe(0);
    });
  });

  it('an ended listener hears nothing more', () => {
    const heard: string[] = [];
    const end = catalog.onChange((change) => heard.push(change.kind));
    end();
    catalog.apply(step(1, [node('a')]));
    expect(heard).toEqual([]);
  });
});
