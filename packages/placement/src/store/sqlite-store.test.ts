import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { MemoryMetadataStore, metadataStoreContract } from '@robustmq/testkit';
import Database from 'better-sqlite3';
import { afterAll, describe, expect, it } from 'vitest';
import { SqliteStore } from './sqlite-store.ts';

const folder = mkdtempSync(join(tmpdir(), 'robustmq-store-'));
let folders = 0;
const newFolder = (): string => join(folder, `${folders++}`);
afterAll(() => rmSync(folder, { recursive: true }));

const dataDirs = new Map<object, string>();
const open = (dataDir: string, changesKept?: number): SqliteStore => {
  const store = SqliteStore.open({ dataDir, ...(changesKept !== undefined && { changesKept }) });
  dataDirs.set(store, dataDir);
  return store;
};

metadataStoreContract('SQLite', {
  open: async (changesKept) => open(newFolder(), changesKept),
  async reopen(store) {
    await store[Symbol.asyncDispose]();
    return open(dataDirs.get(store) ?? '');
  },
});
metadataStoreContract('memory', {
  open: async (changesKept) =>
    new MemoryMetadataStore(changesKept === undefined ? {} : { changesKept }),
  reopen: async (store) => store,
});

describe('SQLite store', () => {
  it('refuses a file that another process has', async () => {
    const dataDir = newFolder();
    const child = startWriter(dataDir);
    try {
      await child.line();
      expect(() => open(dataDir)).toThrow(
        expect.objectContaining({ code: 'CONFLICT', message: expect.stringContaining('in use') }),
      );
    } finally {
      await child.kill();
    }
    await open(dataDir)[Symbol.asyncDispose]();
  });

  it('refuses a file of another version, and one that is not its own', async () => {
    const dataDir = newFolder();
    await open(dataDir)[Symbol.asyncDispose]();
    const file = join(dataDir, 'placement.db');
    const db = new Database(file);
    db.pragma('user_version = 7');
    db.close();
    expect(() => open(dataDir)).toThrow(/format version 7, this program reads version 1/);
    writeFileSync(
      file,
      'no database at all, but long enough to be read as a header of one'.repeat(9),
    );
    expect(() => open(dataDir)).toThrow(/is not a placement data file/);
    rmSync(file);
    const foreign = new Database(file);
    foreign.exec('CREATE TABLE somebody_elses (a)');
    foreign.close();
    expect(() => open(dataDir)).toThrow(/is not a placement data file/);
  });

  it('refuses everything once it is closed', async () => {
    const store = open(newFolder());
    await store[Symbol.asyncDispose]();
    await expect(store.get('a')).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await expect(store.transact([], [])).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });

  it('refuses to write on a full disk, and goes on when there is space', async () => {
    const dataDir = newFolder();
    const store = open(dataDir);
    const put = (value: Buffer) => store.transact([], [{ kind: 'put', key: 'a', value }]);
    await put(Buffer.from('1'));
    store.limitPages(20);
    await expect(put(Buffer.alloc(1_000_000))).rejects.toMatchObject({ code: 'DISK_FULL' });
    expect((await store.get('a'))?.value.toString()).toBe('1');
    store.limitPages(1_000_000);
    await put(Buffer.alloc(1_000_000));
    expect((await store.range('')).revision).toBe(2);
    await store[Symbol.asyncDispose]();
  });

  it('survives SIGKILL: everything acknowledged is there, nothing is half', async () => {
    const dataDir = newFolder();
    for (let round = 0; round < 6; round++) {
      const child = startWriter(dataDir);
      let acknowledged = Number(await child.line());
      // Not a time but a number of transactions: it dies somewhere within the next one.
      for (let more = 0; more < round * 7; more++) acknowledged = Number(await child.line());
      acknowledged = Math.max(acknowledged, ...(await child.kill()).map(Number));
      await using store = open(dataDir);
      const { entries, revision } = await store.range('k/');
      const values = new Set(entries.map(({ value }) => value.readUInt32LE()));
      expect(entries).toHaveLength(40);
      expect(values.size).toBe(1);
      const [written = 0] = values;
      expect(written).toBeGreaterThanOrEqual(acknowledged);
      expect(new Set(entries.map((entry) => entry.revision))).toEqual(new Set([revision]));
    }
  }, 30_000);
});

interface Writer {
  /** The next number that it has acknowledged. */
  line(): Promise<string>;
  /** Kills it; the lines that it had written and nobody read. */
  kill(): Promise<string[]>;
}

function startWriter(dataDir: string): Writer {
  const program = fileURLToPath(import.meta.resolve('./sqlite-writer.fixture.ts'));
  const child = spawn(process.execPath, [program, dataDir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async line() {
      const next = await lines.next();
      if (next.done === true) throw new Error('the writer ended by itself');
      return next.value;
    },
    async kill() {
      child.kill('SIGKILL');
      const rest: string[] = [];
      for (let next = await lines.next(); next.done !== true; next = await lines.next()) {
        rest.push(next.value);
      }
      return rest;
    },
  };
}
