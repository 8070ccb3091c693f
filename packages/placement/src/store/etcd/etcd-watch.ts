import { type Clock, delay, type Logger, OperatingError, toOperatingError } from '@robustmq/core';
import {
  type EtcdEvent,
  EtcdEventType,
  type EtcdKeyValue,
  etcdWatchMethods,
  type EtcdWatchRequest,
  type EtcdWatchResponse,
} from '@robustmq/rpc';
import type { ChangeBatch, StoredChange } from '../metadata-store.ts';
import type { EtcdClient, EtcdStream } from './etcd-client.ts';
import { streamError } from './etcd-error.ts';
import { type EtcdKeys, readKey } from './etcd-keys.ts';

export interface EtcdWatchOptions {
  readonly client: EtcdClient;
  readonly keys: EtcdKeys;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Changes in one step, at most. */
  readonly changesMax: number;
}

/** A stream that has told nothing of a revision for so long, twice, is given up. */
const compareEachMs = 5_000;
const retryEachMs = 500;

/**
 * Follows the changes after a revision. The stream is only a hint: what it tells is compared with the
 * revision of the last transaction, and it is opened again where it is behind or broken.
 */
export async function* etcdWatch(
  options: EtcdWatchOptions,
  afterRevision: number,
  ended: AbortSignal,
): AsyncIterable<ChangeBatch> {
  let position = afterRevision;
  while (!ended.aborted) {
    try {
      await requireKnown(options, position);
      for await (const batch of changesOnce(options, position, ended)) {
        position = batch.revision;
        yield batch;
      }
    } catch (thrown) {
      if (ended.aborted) return;
      const error = toOperatingError(thrown);
      if (error.code === 'COMPACTED') throw error;
      options.logger.info({ error: error.message }, 'the watch of etcd is opened again');
      await delay(options.clock, retryEachMs, ended).catch(() => undefined);
    }
  }
}

/** A store that was restored from a copy may not have come so far again. */
async function requireKnown({ client, keys }: EtcdWatchOptions, position: number): Promise<void> {
  const { revision } = await readKey(client, keys.head);
  if (position > revision) throw compacted(position, `the newest is ${revision}`);
}

async function* changesOnce(
  { client, keys, clock, changesMax }: EtcdWatchOptions,
  afterRevision: number,
  ended: AbortSignal,
): AsyncIterable<ChangeBatch> {
  const stream: EtcdStream<EtcdWatchRequest, EtcdWatchResponse> = await client.open(
    etcdWatchMethods.watch,
  );
  const { endpoint } = client;
  let position = afterRevision;
  const stop = (): void => stream.cancel();
  ended.addEventListener('abort', stop, { once: true });
  const guard = new StallGuard(client, keys, clock, () => position, stop);
  try {
    if (ended.aborted) return;
    stream.write({
      requestUnion: {
        $case: 'createRequest',
        value: {
          key: keys.keyOf(''),
          rangeEnd: keys.endOf(''),
          startRevision: afterRevision + 1,
        },
      },
    });
    for await (const response of stream as AsyncIterable<EtcdWatchResponse>) {
      if (response.compactRevision > 0) {
        throw compacted(position, `older than ${response.compactRevision} is forgotten`);
      }
      if (response.canceled) throw new OperatingError('UNAVAILABLE', response.cancelReason);
      for (const batch of batchesOf(response.events, keys, changesMax)) {
        position = batch.revision;
        yield batch;
      }
    }
    throw new OperatingError('UNAVAILABLE', `etcd at ${endpoint} has ended the watch`);
  } catch (thrown) {
    throw streamError(thrown, endpoint);
  } finally {
    guard[Symbol.dispose]();
    ended.removeEventListener('abort', stop);
    stream.cancel();
  }
}

/** Looks now and then whether the stream is behind, and ends it when it stays so. */
class StallGuard implements Disposable {
  #cancel: () => void;
  #disposed = false;

  constructor(
    client: EtcdClient,
    keys: EtcdKeys,
    clock: Clock,
    position: () => number,
    onStalled: () => void,
  ) {
    let expected = 0;
    const compare = async (): Promise<void> => {
      if (this.#disposed) return;
      if (position() < expected) {
        onStalled();
        return;
      }
      try {
        expected = (await readKey(client, keys.head)).kv?.modRevision ?? 0;
      } catch (thrown) {
        toOperatingError(thrown); // The stream ends by itself, or etcd is away for everybody.
      }
      if (!this.#disposed) this.#cancel = clock.setTimer(compareEachMs, () => void compare());
    };
    this.#cancel = clock.setTimer(compareEachMs, () => void compare());
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#cancel();
  }
}

/** Steps of whole revisions: a step may have more than `changesMax` only if one revision has. */
function* batchesOf(
  events: readonly EtcdEvent[],
  keys: EtcdKeys,
  changesMax: number,
): Iterable<ChangeBatch> {
  let changes = new Map<string, StoredChange>();
  let revision = 0;
  let counted = 0;
  for (const [at, event] of events.entries()) {
    const { kv } = event;
    if (kv === undefined) continue;
    const isNext = kv.modRevision !== revision;
    if (isNext && counted + sizeOfRevision(events, at) > changesMax) {
      yield { revision, changes: [...changes.values()] };
      changes = new Map();
      counted = 0;
    }
    revision = kv.modRevision;
    counted++;
    const change = changeOf(event.type, kv, keys.nameOf(kv.key));
    changes.set(change.key, change);
  }
  if (counted > 0) yield { revision, changes: [...changes.values()] };
}

function sizeOfRevision(events: readonly EtcdEvent[], from: number): number {
  const revision = events[from]?.kv?.modRevision;
  let end = from;
  while (events[end]?.kv?.modRevision === revision && end < events.length) end++;
  return end - from;
}

function changeOf(type: EtcdEventType, kv: EtcdKeyValue, key: string): StoredChange {
  if (type === EtcdEventType.DELETE) return { kind: 'delete', key };
  return { kind: 'put', key, value: kv.value, revision: kv.modRevision };
}

function compacted(position: number, why: string): OperatingError {
  const message = `changes after revision ${position} are not known (${why}): take the full list`;
  return new OperatingError('COMPACTED', message);
}
