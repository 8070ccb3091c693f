import { silentLogger } from '@robustmq/core';
import { MemoryMetadataStore } from '@robustmq/testkit';
import { expect, it } from 'vitest';
import { Deleter } from './deleter.ts';
import { Image } from './image.ts';
import type { JournalOrders } from './journal-orders.ts';
import { Ledger } from './ledger.ts';

it('has one row for a segment whose replicas are abandoned by several at once, and later', async () => {
  const store = new MemoryMetadataStore();
  await using leadership = await store.lead();
  const ledger = new Ledger(store, leadership, new Image());
  const deleter = new Deleter({
    ledger,
    // Nobody is there to obey.
    orders: {} as JournalOrders,
    copies: { ensure: () => Promise.resolve() },
    logger: silentLogger(),
    onDeleted: () => {},
  });
  const [one, other] = [Buffer.alloc(16, 1), Buffer.alloc(16, 2)];
  deleter.abandon(one, ['j1', 'j2']);
  deleter.abandon(one, ['j2', 'j3']);
  deleter.abandon(one, ['j1']);
  deleter.abandon(other, ['j1']);
  await deleter.idle();
  deleter.abandon(one, ['j4']);
  await deleter.idle();
  const rows = [...ledger.image.deleting].map(([hex, { value }]) => [hex, value.replicaNodeIds]);
  expect(Object.fromEntries(rows)).toEqual({
    [one.toString('hex')]: ['j1', 'j2', 'j3', 'j4'],
    [other.toString('hex')]: ['j1'],
  });
});
