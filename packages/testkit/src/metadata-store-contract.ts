import type { ChangeBatch, MetadataStore, Operation } from '@robustmq/placement';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

export interface MetadataStoreUnderTest {
  /** A new, empty store that keeps about `changesKept` changes for watches. */
  open(changesKept?: number): Promise<MetadataStore>;
  /** Ends a store that `open` gave, and opens it again with what it had. */
  reopen(store: MetadataStore): Promise<MetadataStore>;
}

const put = (key: string, value: string): Operation => ({
  kind: 'put',
  key,
  value: Buffer.from(value),
});
const remove = (key: string): Operation => ({ kind: 'delete', key });

/** What every metadata store must do. */
export function metadataStoreContract(name: string, subject: MetadataStoreUnderTest): void {
  describe(`metadata store contract: ${name}`, () => {
    let store: MetadataStore;

    beforeEach(async () => {
      store = await subject.open();
    });
    afterEach(async () => {
      await store[Symbol.asyncDispose]();
    });

    async function write(...operations: Operation[]): Promise<number> {
      const result = await store.transact([], operations);
      if (result.kind !== 'committed') throw new Error('a write without conditions had a conflict');
      return result.revision;
    }

    async function text(key: string): Promise<string | undefined> {
      return (await store.get(key))?.value.toString();
    }

    describe('get and transact', () => {
      it('gives what was put, with the revision of its transaction', async () => {
        const revision = await write(put('a', '1'), put('b', ''));
        expect(await store.get('a')).toEqual({ key: 'a', value: Buffer.from('1'), revision });
        expect(await text('b')).toBe('');
        expect(await store.get('c')).toBeUndefined();
      });

      it('gives a larger revision to each transaction, and leaves untouched keys alone', async () => {
        const first = await write(put('a', '1'), put('b', '1'));
        const second = await write(put('a', '2'));
        expect(second).toBeGreaterThan(first);
        expect((await store.get('b'))?.revision).toBe(first);
        expect((await store.get('a'))?.revision).toBe(second);
      });

      it('deletes, and forgives deleting what is not there', async () => {
        await write(put('a', '1'));
        await write(remove('a'), remove('never'));
        expect(await store.get('a')).toBeUndefined();
      });

      it('does everything or nothing when a condition fails', async () => {
        const revision = await write(put('a', '1'), put('b', '1'));
        const failing = [
          [{ key: 'a', revision: revision + 1 }],
          [{ key: 'a', revision: 0 }],
          [{ key: 'c', revision }],
          [
            { key: 'a', revision },
            { key: 'b', revision: 0 },
          ],
        ];
        for (const conditions of failing) {
          const result = await store.transact(conditions, [
            put('a', '2'),
            put('n', '1'),
            remove('b'),
          ]);
          expect(result).toEqual({ kind: 'conflict' });
        }
        expect(await text('a')).toBe('1');
        expect(await text('b')).toBe('1');
        expect(await store.get('n')).toBeUndefined();
      });

      it('takes revision 0 as: there is no such key, also after a delete', async () => {
        const absent = [{ key: 'a', revision: 0 }];
        expect((await store.transact(absent, [put('a', '1')])).kind).toBe('committed');
        expect((await store.transact(absent, [put('a', '2')])).kind).toBe('conflict');
        await write(remove('a'));
        expect((await store.transact(absent, [put('a', '3')])).kind).toBe('committed');
        expect(await text('a')).toBe('3');
      });

      it('a deleted key never gets an old revision back', async () => {
        const first = await write(put('a', '1'));
        await write(remove('a'));
        await write(put('a', '1'));
        const stale = await store.transact([{ key: 'a', revision: first }], [put('a', '2')]);
        expect(stale.kind).toBe('conflict');
      });

      it('lets one of several racing transactions win', async () => {
        const revision = await write(put('a', '0'));
        const racers = Array.from({ length: 8 }, (_, at) =>
          store.transact([{ key: 'a', revision }], [put('a', `${at}`)]),
        );
        const results = await Promise.all(racers);
        const winners = results.flatMap(({ kind }, at) => (kind === 'committed' ? [`${at}`] : []));
        expect(winners).toHaveLength(1);
        expect(await text('a')).toBe(winners[0]);
      });

      it('refuses more operations than it says, and two for one key', async () => {
        const many = Array.from({ length: store.operationsMax + 1 }, (_, at) => put(`k${at}`, ''));
        await expect(store.transact([], many)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
        const twice = [put('a', '1'), remove('a')];
        await expect(store.transact([], twice)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
        expect(await store.get('k0')).toBeUndefined();
        const fitting = many.slice(1);
        const absent = fitting.map(({ key }) => ({ key, revision: 0 }));
        expect((await store.transact(absent, fitting)).kind).toBe('committed');
      });
    });

    describe('range', () => {
      it('gives the keys with the prefix in byte order, page by page', async () => {
        await write(
          put('s/2', 'b'),
          put('s/10', 'a'),
          put('s', 'x'),
          put('s0', 'y'),
          put('t/1', 'z'),
        );
        await write(put('s/3', 'c'), put('s/', 'd'));
        const keys = async (options: { after?: string; limit?: number }): Promise<string[]> =>
          (await store.range('s/', options)).entries.map(({ key }) => key);
        expect(await keys({})).toEqual(['s/', 's/10', 's/2', 's/3']);
        expect(await keys({ limit: 2 })).toEqual(['s/', 's/10']);
        expect(await keys({ after: 's/10', limit: 2 })).toEqual(['s/2', 's/3']);
        expect(await keys({ after: 's/3' })).toEqual([]);
        expect(await keys({ after: 'a' })).toEqual(['s/', 's/10', 's/2', 's/3']);
      });

      it('tells the revision at which it was read', async () => {
        const revision = await write(put('a', '1'));
        const range = await store.range('');
        expect(range.revision).toBe(revision);
        expect(range.entries).toEqual([{ key: 'a', value: Buffer.from('1'), revision }]);
      });
    });

    describe('watch', () => {
      const stop = new AbortController();

      /** Reads steps until `revision` has been told; the newest change of each key. */
      async function changesUntil(after: number, revision: number): Promise<Map<string, string>> {
        const seen = new Map<string, string>();
        let last = after;
        for await (const batch of store.watch(after, stop.signal)) {
          expect(batch.revision).toBeGreaterThan(last);
          last = batch.revision;
          expect(batch.changes.length).toBeLessThanOrEqual(1_000);
          for (const change of batch.changes) {
            seen.set(change.key, change.kind === 'put' ? change.value.toString() : '(deleted)');
          }
          if (batch.revision >= revision) return seen;
        }
        throw new Error('the watch ended by itself');
      }

      it('tells what changed after a revision', async () => {
        const first = await write(put('a', '1'), put('b', '1'));
        await write(put('a', '2'));
        const last = await write(remove('b'), put('c', '1'));
        expect(await changesUntil(first, last)).toEqual(
          new Map([
            ['a', '2'],
            ['b', '(deleted)'],
            ['c', '1'],
          ]),
        );
      });

      it('tells what changes while it waits', async () => {
        const first = await write(put('a', '1'));
        const iterator = store.watch(first, stop.signal)[Symbol.asyncIterator]();
        const next = iterator.next();
        const second = await write(put('a', '2'));
        const step = (await next).value as ChangeBatch;
        expect(step.revision).toBe(second);
        expect(step.changes).toMatchObject([{ kind: 'put', key: 'a', revision: second }]);
        await iterator.return?.();
      });

      it('resumes anywhere without a gap, over many pages', async () => {
        const start = await write(put('begin', ''));
        const expected = new Map<string, string>();
        let last = start;
        for (let round = 0; round < 12; round++) {
          const operations = Array.from({ length: 120 }, (_, at) =>
            put(`k${(round * 97 + at) % 700}`, `${round}`),
          );
          for (const operation of operations) expected.set(operation.key, `${round}`);
          last = await write(...operations);
        }
        expect(await changesUntil(start, last)).toEqual(expected);
        let position = start;
        const seen = new Map<string, string>();
        while (position < last) {
          for await (const batch of store.watch(position, stop.signal)) {
            for (const change of batch.changes) {
              if (change.kind === 'put') seen.set(change.key, change.value.toString());
            }
            position = batch.revision;
            break;
          }
        }
        expect(seen).toEqual(expected);
      });

      it('serves several watches', async () => {
        const first = await write(put('a', '1'));
        const both = [changesUntil(first, first + 1), changesUntil(first, first + 1)];
        await write(put('a', '2'));
        expect(await Promise.all(both)).toEqual([new Map([['a', '2']]), new Map([['a', '2']])]);
      });

      it('ends when the signal aborts', async () => {
        const ending = new AbortController();
        const revision = await write(put('a', '1'));
        const iterator = store.watch(revision, ending.signal)[Symbol.asyncIterator]();
        const next = iterator.next();
        ending.abort();
        expect(await next).toMatchObject({ done: true });
      });

      it('throws COMPACTED when it has forgotten, and when it is asked about the future', async () => {
        await store[Symbol.asyncDispose]();
        store = await subject.open(50);
        const first = await write(put('a', '0'));
        for (let at = 1; at <= 200; at++) await write(put('a', `${at}`));
        const last = await write(put('a', 'last'));
        const firstStep = (after: number): Promise<unknown> =>
          store.watch(after, stop.signal)[Symbol.asyncIterator]().next();
        await expect(firstStep(first)).rejects.toMatchObject({ code: 'COMPACTED' });
        await expect(firstStep(last + 1)).rejects.toMatchObject({ code: 'COMPACTED' });
        expect(await changesUntil(last - 1, last)).toEqual(new Map([['a', 'last']]));
      });
    });

    describe('after it was opened again', () => {
      it('has everything, and goes on with larger revisions', async () => {
        await write(put('a', '1'), put('b', '1'));
        const before = await write(remove('b'));
        store = await subject.reopen(store);
        expect(await text('a')).toBe('1');
        expect(await store.get('b')).toBeUndefined();
        expect((await store.range('')).revision).toBe(before);
        expect(await write(put('c', '1'))).toBeGreaterThan(before);
      });

      it('lets a watch resume', async () => {
        const first = await write(put('a', '1'));
        await write(put('a', '2'));
        store = await subject.reopen(store);
        for await (const batch of store.watch(first, new AbortController().signal)) {
          expect(batch.changes).toMatchObject([{ key: 'a', value: Buffer.from('2') }]);
          break;
        }
      });
    });

    describe('lead', () => {
      it('lets its holder transact, and tells the others who it is', async () => {
        const first = await store.lead({ address: 'here:1' });
        const patience = new AbortController();
        const other = Promise.withResolvers<string>();
        const second = store.lead({ signal: patience.signal, onOther: other.resolve });
        expect(await other.promise).toBe('here:1');
        patience.abort(new Error('enough'));
        await expect(second).rejects.toThrow('enough');
        const absent = [{ key: 'a', revision: 0 }];
        const done = await first.transact(absent, [put('a', '1')]);
        expect(done).toEqual({ kind: 'committed', revision: (await store.get('a'))?.revision });
        expect(await first.transact(absent, [put('a', '2')])).toEqual({ kind: 'conflict' });
        expect(await text('a')).toBe('1');
        await first[Symbol.asyncDispose]();
      });

      it('is given to one at a time, in turn', async () => {
        const first = await store.lead();
        let got = false;
        const second = store.lead().then((leadership) => {
          got = true;
          return leadership;
        });
        await write(put('a', '1'));
        expect(got).toBe(false);
        expect(first.lost.aborted).toBe(false);
        await first[Symbol.asyncDispose]();
        await (await second)[Symbol.asyncDispose]();
      });

      it('can be given up waiting for', async () => {
        const first = await store.lead();
        const patience = new AbortController();
        const second = store.lead({ signal: patience.signal });
        patience.abort(new Error('enough'));
        await expect(second).rejects.toThrow('enough');
        const third = store.lead();
        await first[Symbol.asyncDispose]();
        await (await third)[Symbol.asyncDispose]();
      });
    });
  });
}
