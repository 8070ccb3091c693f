import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OperatingError } from '@robustmq/core';
import { expect, it } from 'vitest';
import { SqliteStore } from '../store/sqlite-store.ts';
import { Image } from './image.ts';
import { WatchSession } from './watch-session.ts';

it('ends a watch whose store is closed first, instead of asking it again for ever', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'robustmq-watch-'));
  const store = SqliteStore.open({ dataDir });
  const cancelled = Promise.withResolvers<OperatingError | undefined>();
  const image = await Image.load(store);
  const identity = { placementEpoch: 1, placementInstance: Buffer.alloc(16) };
  const session = new WatchSession(
    { store, image, identity, onClosed: () => undefined },
    { send: () => true, end: () => undefined, cancel: (error) => cancelled.resolve(error) },
  );
  session.message({ fromRevision: 0, nodeId: 'test' });
  await store[Symbol.asyncDispose]();
  expect((await cancelled.promise)?.code).toBe('UNAVAILABLE');
  rmSync(dataDir, { recursive: true });
});
