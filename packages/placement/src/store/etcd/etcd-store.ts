import {
  delay,
  type Logger,
  OperatingError,
  type Random,
  silentLogger,
  toOperatingError,
} from '@robustmq/core';
import { type EtcdKeyValue, etcdKvMethods } from '@robustmq/rpc';
import {
  type ChangeBatch,
  checkOperations,
  type Condition,
  type Leadership,
  type LeadOptions,
  type MetadataStore,
  type Operation,
  type RangeOptions,
  type RangeResult,
  type StoredValue,
  type TransactionResult,
} from '../metadata-store.ts';
import { EtcdClient, type EtcdClientOptions } from './etcd-client.ts';
import { EtcdKeys, readKey } from './etcd-keys.ts';
import { EtcdLeadership } from './etcd-leadership.ts';
import { EtcdLease } from './etcd-lease.ts';
import { etcdTransact, type GuardedResult, ledSince, putOp, rangeOp } from './etcd-transaction.ts';
import { etcdWatch } from './etcd-watch.ts';

export interface EtcdStoreOptions extends EtcdClientOptions {
  readonly random: Random;
  readonly logger?: Logger;
  /** In front of every key; ASCII. Default `robustmq/`. */
  readonly prefix?: string;
  /** Revisions that a watch can resume behind; older ones are compacted. Default 100,000. */
  readonly changesKept?: number;
}

/** etcd refuses transactions of more than 128 operations (--max-txn-ops); two are ours. */
const operationsMax = 126;
const rangeDefault = 1_000;
const changesMax = 1_000;
/** How long nobody else leads after a leader was last heard of. */
const leaseMs = 3_000;
/** How often a server that waits looks who leads. */
const lookEachMs = 250;

/**
 * A store in etcd, for several placement servers. A key's revision is its `mod_revision`. The etcd
 * cluster is its own: old revisions are compacted, whoever wrote them.
 */
export class EtcdStore implements MetadataStore {
  readonly operationsMax = operationsMax;
  readonly #options: EtcdStoreOptions;
  readonly #logger: Logger;
  readonly #client: EtcdClient;
  readonly #keys: EtcdKeys;
  readonly #closed = new AbortController();
  /** Revision below which it was compacted from here; undefined before the first transaction. */
  #compacted: number | undefined;

  /** Throws INVALID_ARGUMENT without endpoints. Connects when it is used. */
  constructor(options: EtcdStoreOptions) {
    this.#options = options;
    this.#logger = options.logger ?? silentLogger();
    this.#client = new EtcdClient(options);
    this.#keys = new EtcdKeys(options.prefix ?? 'robustmq/');
  }

  async get(key: string): Promise<StoredValue | undefined> {
    this.#requireOpen();
    const { kv } = await readKey(this.#client, this.#keys.keyOf(key));
    return kv && this.#storedOf(kv);
  }

  async range(prefix: string, options: RangeOptions = {}): Promise<RangeResult> {
    this.#requireOpen();
    const { after = '', limit = rangeDefault } = options;
    const answer = await this.#client.read(etcdKvMethods.range, {
      key: this.#keys.keyOf(after >= prefix ? `${after}\0` : prefix),
      rangeEnd: this.#keys.endOf(prefix),
      limit,
    });
    return {
      entries: answer.kvs.map((kv) => this.#storedOf(kv)),
      revision: answer.header?.revision ?? 0,
    };
  }

  /** Rejects with INDETERMINATE when nobody knows whether it was done. */
  async transact(
    conditions: readonly Condition[],
    operations: readonly Operation[],
  ): Promise<TransactionResult> {
    const result = await this.#transact(conditions, operations);
    if (result.kind === 'lost') throw new OperatingError('INTERNAL', 'no leadership was asked for');
    return result;
  }

  watch(afterRevision: number, signal: AbortSignal): AsyncIterable<ChangeBatch> {
    const ended = AbortSignal.any([signal, this.#closed.signal]);
    return etcdWatch(
      {
        client: this.#client,
        keys: this.#keys,
        clock: this.#options.clock,
        logger: this.#logger,
        changesMax,
      },
      afterRevision,
      ended,
    );
  }

  /** Rejects with NOT_AUTHORIZED or INVALID_ARGUMENT when etcd refuses; waits while it is away. */
  async lead({ address = '', signal, onOther }: LeadOptions = {}): Promise<Leadership> {
    const stopped = AbortSignal.any([this.#closed.signal, ...(signal ? [signal] : [])]);
    let failing = false;
    for (;;) {
      try {
        const { kv } = await readKey(this.#client, this.#keys.leader);
        const leadership = kv === undefined ? await this.#campaign(address, stopped) : undefined;
        if (leadership !== undefined) return leadership;
        if (kv !== undefined) onOther?.(kv.value.toString());
        failing = false;
      } catch (thrown) {
        stopped.throwIfAborted();
        const error = toOperatingError(thrown);
        if (!isPassing(error)) throw error;
        if (!failing) this.#logger.warn({ error: error.message }, 'etcd: trying again');
        failing = true;
      }
      await delay(this.#options.clock, lookEachMs, stopped);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort(new OperatingError('UNAVAILABLE', 'the metadata store is closed'));
    this.#client[Symbol.dispose]();
  }

  /** Tries to make the leader key; undefined when somebody else was faster. */
  async #campaign(address: string, stopped: AbortSignal): Promise<Leadership | undefined> {
    const { clock, random } = this.#options;
    // etcd takes 63 bits; a number has 53.
    const id = random.bytes(6).readUIntBE(0, 6) + 1;
    const lease = await EtcdLease.grant(this.#client, clock, id, leaseMs);
    try {
      const answer = await this.#client.call(etcdKvMethods.txn, {
        compare: [ledSince(this.#keys, 0)],
        success: [putOp(this.#keys.leader, Buffer.from(address), id)],
        failure: [rangeOp(this.#keys.leader)],
      });
      stopped.throwIfAborted();
      if (answer.succeeded) {
        const since = answer.header?.revision ?? 0;
        return new EtcdLeadership({
          lease,
          transact: (conditions, operations) => this.#transact(conditions, operations, since),
        });
      }
    } catch (thrown) {
      await lease[Symbol.asyncDispose]();
      throw thrown;
    }
    await lease[Symbol.asyncDispose]();
    return undefined;
  }

  async #transact(
    conditions: readonly Condition[],
    operations: readonly Operation[],
    leaderSince?: number,
  ): Promise<GuardedResult> {
    this.#requireOpen();
    checkOperations(operations, operationsMax);
    const result = await etcdTransact(
      this.#client,
      this.#keys,
      conditions,
      operations,
      leaderSince,
    );
    if (result.kind === 'committed') await this.#compactAt(result.revision);
    return result;
  }

  /** Every now and then, as a store that nobody compacts grows until it takes nothing any more. */
  async #compactAt(revision: number): Promise<void> {
    const { changesKept = 100_000 } = this.#options;
    this.#compacted ??= revision;
    if (revision - this.#compacted < 2 * changesKept) return;
    this.#compacted = revision - changesKept;
    try {
      await this.#client.call(etcdKvMethods.compact, { revision: this.#compacted });
    } catch (thrown) {
      // Somebody else may have done it; the next time is soon enough.
      this.#logger.info({ error: toOperatingError(thrown).message }, 'etcd was not compacted');
    }
  }

  #storedOf({ key, value, modRevision }: EtcdKeyValue): StoredValue {
    return { key: this.#keys.nameOf(key), value, revision: modRevision };
  }

  #requireOpen(): void {
    if (this.#closed.signal.aborted) {
      throw new OperatingError('UNAVAILABLE', 'the metadata store is closed');
    }
  }
}

/** Whether it may be better in a moment. */
function isPassing({ code }: OperatingError): boolean {
  return code !== 'NOT_AUTHORIZED' && code !== 'INVALID_ARGUMENT' && code !== 'INTERNAL';
}
