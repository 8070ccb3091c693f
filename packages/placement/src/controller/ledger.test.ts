import { OperatingError } from '@robustmq/core';
import { MemoryMetadataStore } from '@robustmq/testkit';
import { expect, it } from 'vitest';

import { Image } from './image.ts';
import { clusterKey } from './keys.ts';
import { Ledger } from './ledger.ts';

it('goes on saying why it was stopped, whatever becomes of a transaction that was under way', async () => {
  const store = new MemoryMetadataStore();
  await using leadership = await store.lead();
  const ledger = new Ledger(store, leadership, new Image());
  const underWay = ledger.transact([{ key: clusterKey, revision: 0 }], []);
  const reason = new OperatingError('CONFLICT', 'its data folder is an old copy');
  ledger.stop(reason);
  await expect(underWay).resolves.toMatchObject({ kind: 'committed' });
  expect(ledger.failure).toBe(reason);
  await expect(ledger.transact([], [])).rejects.toBe(reason);
});
