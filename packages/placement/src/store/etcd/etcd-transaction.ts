import {
  type EtcdCompare,
  EtcdCompareResult,
  EtcdCompareTarget,
  etcdKvMethods,
  type EtcdRequestOp,
  type EtcdTxnRequest,
} from '@robustmq/rpc';
import type { Condition, Operation, TransactionResult } from '../metadata-store.ts';
import type { EtcdClient } from './etcd-client.ts';
import type { EtcdKeys } from './etcd-keys.ts';

/** `lost`: the leadership that was asked for is not held any more, and nothing was done. */
export type GuardedResult = TransactionResult | { readonly kind: 'lost' };

/** Holds while the leader key is the one that was made at this revision; 0: while there is none. */
export function ledSince(keys: EtcdKeys, createRevision: number): EtcdCompare {
  return {
    result: EtcdCompareResult.EQUAL,
    target: EtcdCompareTarget.CREATE,
    key: keys.leader,
    targetUnion: { $case: 'createRevision', value: createRevision },
  };
}

/**
 * One transaction, in one request. `leaderSince` is the revision at which the leader key was made that
 * has to be there. Rejects with INDETERMINATE when nobody knows whether it was done.
 */
export async function etcdTransact(
  client: EtcdClient,
  keys: EtcdKeys,
  conditions: readonly Condition[],
  operations: readonly Operation[],
  leaderSince?: number,
): Promise<GuardedResult> {
  const request: EtcdTxnRequest = {
    compare: conditions.map((condition) => compareOf(condition, keys)),
    success: operations.map((operation) => requestOf(operation, keys)),
    failure: [],
  };
  // Every transaction has a revision of its own, and `head` tells the last.
  if (operations.length > 0) request.success.push(putOp(keys.head, Buffer.alloc(0)));
  if (leaderSince !== undefined) {
    request.compare.push(ledSince(keys, leaderSince));
    request.failure.push(rangeOp(keys.leader));
  }
  const answer = await client.call(etcdKvMethods.txn, request);
  if (answer.succeeded) return { kind: 'committed', revision: answer.header?.revision ?? 0 };
  if (leaderSince === undefined) return { kind: 'conflict' };
  const leader = answer.responses[0]?.response?.value.kvs[0];
  return { kind: leader?.createRevision === leaderSince ? 'conflict' : 'lost' };
}

export function putOp(key: Buffer, value: Buffer, lease = 0): EtcdRequestOp {
  return { request: { $case: 'requestPut', value: { key, value, lease } } };
}

export function rangeOp(key: Buffer): EtcdRequestOp {
  const range = { key, rangeEnd: Buffer.alloc(0), limit: 1 };
  return { request: { $case: 'requestRange', value: range } };
}

function compareOf({ key, revision }: Condition, keys: EtcdKeys): EtcdCompare {
  return {
    result: EtcdCompareResult.EQUAL,
    target: EtcdCompareTarget.MOD,
    key: keys.keyOf(key),
    targetUnion: { $case: 'modRevision', value: revision },
  };
}

function requestOf(operation: Operation, keys: EtcdKeys): EtcdRequestOp {
  const key = keys.keyOf(operation.key);
  if (operation.kind === 'put') return putOp(key, operation.value);
  return { request: { $case: 'requestDeleteRange', value: { key } } };
}
