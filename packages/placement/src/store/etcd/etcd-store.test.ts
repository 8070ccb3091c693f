import { OperatingError, silentLogger, systemClock, systemRandom } from '@robustmq/core';
import { etcdMissing, EtcdProcess, metadataStoreContract } from '@robustmq/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ChangeBatch, Leadership, Operation } from '../metadata-store.ts';
import { EtcdStore, type EtcdStoreOptions } from './etcd-store.ts';

const reason = etcdMissing();
if (reason !== undefined) console.warn(`the etcd store is not tried: ${reason}`);
const title = `with etcd${reason === undefined ? '' : ` (skipped: ${reason})`}`;

const put = (key: string, value: string): Operation => ({
  kind: 'put',
  key,
  value: Buffer.from(value),
});

describe.skipIf(reason !== undefined)(title, () => {
  let etcd: EtcdProcess;
  let prefixes = 0;
  beforeAll(async () => {
    etcd = await EtcdProcess.start();
  });
  afterAll(() => etcd[Symbol.asyncDispose]());

  const open = (options: Partial<EtcdStoreOptions> = {}): EtcdStore =>
    new EtcdStore({
      endpoints: [etcd.endpoint],
      prefix: `test-${prefixes++}/`,
      clock: systemClock(),
      random: systemRandom(),
      logger: silentLogger(),
      ...options,
    });

  const opened = new Map<object, Partial<EtcdStoreOptions>>();
  metadataStoreContract('etcd', {
    async open(changesKept) {
      const options = {
        prefix: `contract-${prefixes++}/`,
        ...(changesKept !== undefined && { changesKept }),
      };
      const store = open(options);
      opened.set(store, options);
      return store;
    },
    async reopen(store) {
      await store[Symbol.asyncDispose]();
      return open(opened.get(store));
    },
  });

  /** Two servers' views of one store. */
  function two(): [EtcdStore, EtcdStore, string] {
    const prefix = `two-${prefixes++}/`;
    return [open({ prefix }), open({ prefix }), prefix];
  }
  const lost = ({ lost: signal }: Leadership): Promise<void> =>
    new Promise((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener('abort', () => resolve(), { once: true });
    });

  it('a leader that was replaced does nothing any more, and is told', async () => {
    const [one, other, prefix] = two();
    await using _ = one;
    await using __ = other;
    const first = await one.lead({ address: 'one:1' });
    await first.transact([], [put('a', '1')]);
    const second = other.lead({ address: 'other:1' });
    // As if its lease had run out while it was paused.
    etcd.control('del', '--prefix', `${prefix}leader`);
    const leadership = await second;
    const late = first.transact([], [put('a', 'late')]);
    await expect(late).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(first.lost.aborted).toBe(true);
    expect((await other.get('a'))?.value.toString()).toBe('1');
    await leadership.transact([], [put('a', '2')]);
    expect((await one.get('a'))?.value.toString()).toBe('2');
    await first[Symbol.asyncDispose]();
    await leadership[Symbol.asyncDispose]();
  });

  it('is told that its lease has ended, without asking', async () => {
    await using store = open();
    const leadership = await store.lead();
    for (const id of etcd.control('lease', 'list').split('\n').slice(1)) {
      if (id !== '') etcd.control('lease', 'revoke', id);
    }
    await lost(leadership);
    await expect(leadership.transact([], [])).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await leadership[Symbol.asyncDispose]();
  });

  it('does the transactions of a leader in order, in one go', async () => {
    await using store = open();
    const leadership = await store.lead();
    const results = await Promise.all(
      Array.from({ length: 200 }, (_, at) => leadership.transact([], [put('a', `${at}`)])),
    );
    const revisions = results.map((result) => (result.kind === 'committed' ? result.revision : 0));
    expect(revisions).toEqual(revisions.toSorted((a, b) => a - b));
    expect((await store.get('a'))?.value.toString()).toBe('199');
    await leadership[Symbol.asyncDispose]();
  });

  describe('etcd away', () => {
    it('calls are refused, the leader is told, a watch and a candidate go on', async () => {
      const [one, other] = two();
      await using _ = one;
      await using __ = other;
      const leadership = await one.lead();
      const before = await leadership.transact([], [put('a', '1')]);
      if (before.kind !== 'committed') throw new Error('a conflict without conditions');
      const stop = new AbortController();
      const watch = other.watch(before.revision, stop.signal)[Symbol.asyncIterator]();
      const step = watch.next();
      await etcd.kill();
      await expect(one.get('a')).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      await expect(leadership.transact([], [put('a', '2')])).rejects.toBeInstanceOf(OperatingError);
      const next = other.lead();
      await lost(leadership);
      await etcd.restart();
      const second = await next;
      const after = await second.transact([], [put('a', '3')]);
      const { changes } = (await step).value as ChangeBatch;
      expect(changes.map((change) => change.key)).toEqual(['a']);
      expect(after.kind).toBe('committed');
      stop.abort();
      await watch.return?.();
      await leadership[Symbol.asyncDispose]();
      await second[Symbol.asyncDispose]();
    });

    it('goes to another member', async () => {
      await using store = open({ endpoints: ['127.0.0.1:1', etcd.endpoint] });
      await store.transact([], [put('a', '1')]).catch(() => undefined);
      await store.transact([], [put('a', '2')]);
      expect((await store.get('a'))?.value.toString()).toBe('2');
    });
  });

  it('refuses what etcd takes no more, and says what to do', async () => {
    await using small = await EtcdProcess.start(['--quota-backend-bytes', '1000000']);
    await using store = open({ endpoints: [small.endpoint] });
    const fill = async (): Promise<void> => {
      for (let at = 0; at < 30; at++)
        await store.transact([], [put(`k${at}`, 'x'.repeat(200_000))]);
    };
    await using large = open();
    await expect(large.transact([], [put('big', 'x'.repeat(2_000_000))])).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('too large'),
    });
    await expect(fill()).rejects.toMatchObject({ code: 'DISK_FULL' });
  });

  it('logs in, and needs no more than its prefix', async () => {
    await using guarded = await EtcdProcess.start();
    guarded.control('user', 'add', 'root:secret');
    guarded.control('user', 'add', 'placement:word');
    guarded.control('role', 'add', 'own');
    guarded.control('role', 'grant-permission', 'own', '--prefix=true', 'readwrite', 'own/');
    guarded.control('user', 'grant-role', 'placement', 'own');
    guarded.control('auth', 'enable');
    const endpoints = [guarded.endpoint];
    await using stranger = open({ endpoints });
    await expect(stranger.lead()).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await using wrong = open({ endpoints, user: { name: 'placement', password: 'guess' } });
    await expect(wrong.lead()).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    const user = { name: 'placement', password: 'word' };
    await using elsewhere = open({ endpoints, user });
    await expect(elsewhere.lead()).rejects.toMatchObject({ code: 'NOT_AUTHORIZED' });
    await using store = open({ endpoints, user, prefix: 'own/', changesKept: 1 });
    const leadership = await store.lead();
    const revisions: number[] = [];
    for (const value of ['1', '2', '3', '4']) {
      const result = await leadership.transact([], [put('a', value)]);
      if (result.kind === 'committed') revisions.push(result.revision);
    }
    const watch = store.watch(revisions[0] ?? 0, new AbortController().signal);
    await expect(watch[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'COMPACTED' });
    // Its tokens end with the process.
    await guarded.kill();
    await guarded.restart();
    expect((await store.get('a'))?.value.toString()).toBe('4');
    await leadership[Symbol.asyncDispose]();
  });
});
