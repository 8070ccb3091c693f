import { OperatingError } from '@robustmq/core';
import { type HoldShardsRequest, StoredHold } from '@robustmq/rpc';
import type { Operation } from '../store/metadata-store.ts';
import { holdKey } from './keys.ts';
import { type Ledger, put } from './ledger.ts';

/**
 * Stores what a holder still needs, and forgets what it needs no more. Shards that are gone are left
 * out: their topic was deleted. Throws INVALID_ARGUMENT for a bad holder.
 */
export async function holdShards(ledger: Ledger, request: HoldShardsRequest): Promise<void> {
  const { holder, holds, releases } = request;
  if (holder === '' || holder.length > 200) {
    throw new OperatingError('INVALID_ARGUMENT', 'a holder has a name of 1 to 200 characters');
  }
  const { image, operationsMax } = ledger;
  const rows = new Map<string, Operation>();
  for (const shardId of releases) {
    if (image.holds.get(shardId)?.has(holder) !== true) continue;
    rows.set(holdKey(shardId, holder), { kind: 'delete', key: holdKey(shardId, holder) });
  }
  for (const { shardId, offset } of holds) {
    if (!image.shards.has(shardId)) continue;
    if (image.holds.get(shardId)?.get(holder)?.value.offset === offset) continue;
    const key = holdKey(shardId, holder);
    rows.set(key, put(key, StoredHold.encode({ offset })));
  }
  const operations = [...rows.values()];
  for (let at = 0; at < operations.length; at += operationsMax) {
    await ledger.transact([], operations.slice(at, at + operationsMax));
  }
}
