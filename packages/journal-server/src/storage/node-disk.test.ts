import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { offset, seededRandom, silentLogger, systemClock } from '@robustmq/core';
import { afterEach, describe, expect, it } from 'vitest';
import { NodeDisk } from './node-disk.ts';
import { openStorage } from './open-storage.ts';
import type { JournalStorage } from './storage.ts';
import { bytesOf, manifest, nextFrame, readAll, replicaOf } from './storage-fixture.ts';

const folders: string[] = [];

function newFolder(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'robustmq-storage-'));
  folders.push(folder);
  return folder;
}

afterEach(() => {
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true });
});

function open(folder: string): Promise<JournalStorage> {
  return openStorage({
    disk: new NodeDisk(folder),
    clock: systemClock(),
    random: seededRandom(1),
    logger: silentLogger(),
    onFatal: (error) => {
      throw error;
    },
    limits: { walFileBytes: 1 << 20, walBytesMax: 3 << 20, recentBytesMax: 1 << 20 },
  });
}

describe('the storage on a real folder', () => {
  it('takes large and small batches, empties its log, and opens again', async () => {
    const folder = path.join(newFolder(), 'not', 'yet', 'there');
    const storage = await open(folder);
    await storage.create([manifest(1), manifest(2)]);
    const frames: Buffer[] = [];
    const replica = replicaOf(storage, 1);
    storage.activate(replica, offset(7));
    for (let mark = 0; mark < 60; mark++) {
      const valueBytes = mark === 30 ? 3 << 20 : 100_000;
      const frame = nextFrame(replica, { valueBytes, mark, timestampMs: mark });
      frames.push(bytesOf(frame));
      storage.append(replica, frame);
      if (mark % 4 === 0) await storage.sync();
    }
    await storage.sync();
    expect(replica.durableLength).toBe(60);
    await storage[Symbol.asyncDispose]();

    const again = await open(folder);
    const found = replicaOf(again, 1);
    expect(
      (await readAll(again, found)).every((frame, at) => frame.equals(frames[at] ?? frame)),
    ).toBe(true);
    expect(found.sizeBytes).toBe(Buffer.concat(frames).length);
    expect(await again.indexByTime(found, 44)).toBe(44);
    await again[Symbol.asyncDispose]();
  });

  it('belongs to one process at a time', async () => {
    const folder = newFolder();
    const first = await open(folder);
    await expect(open(folder)).rejects.toThrow('is in use by another process');
    await first[Symbol.asyncDispose]();
    const second = await open(folder);
    expect(second.incarnation).toBe(2);
    await second[Symbol.asyncDispose]();
  });

  it('says in one line that a folder is of another version', async () => {
    const folder = newFolder();
    await (await open(folder))[Symbol.asyncDispose]();
    const cookie = path.join(folder, 'node.json');
    const text = fs
      .readFileSync(cookie, 'utf8')
      .replace('"formatVersion": 2', '"formatVersion": 7');
    fs.writeFileSync(cookie, text);
    await expect(open(folder)).rejects.toThrow('has format version 7, this program reads 2');
    fs.writeFileSync(cookie, 'garbage');
    await expect(open(folder)).rejects.toMatchObject({ code: 'DAMAGED' });
  });
});
