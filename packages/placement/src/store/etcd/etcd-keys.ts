import { type EtcdKeyValue, etcdKvMethods } from '@robustmq/rpc';
import type { EtcdClient } from './etcd-client.ts';

/**
 * How a store's keys stand in etcd, under a prefix of their own: `kv/` has them, `head` is put by each
 * transaction (so its revision is that of the last one), `leader` is the one that decides.
 */
export class EtcdKeys {
  readonly head: Buffer;
  readonly leader: Buffer;
  readonly #prefix: string;

  constructor(prefix: string) {
    this.head = Buffer.from(`${prefix}head`);
    this.leader = Buffer.from(`${prefix}leader`);
    this.#prefix = `${prefix}kv/`;
  }

  keyOf(key: string): Buffer {
    return Buffer.from(this.#prefix + key);
  }

  /** The first key behind all that begin with `prefix`; keys are ASCII. */
  endOf(prefix: string): Buffer {
    return Buffer.from(`${this.#prefix}${prefix}\u007f`);
  }

  nameOf(key: Buffer): string {
    return key.toString('latin1', this.#prefix.length);
  }
}

/** One key as it is now, and the revision of the whole store. */
export async function readKey(
  client: EtcdClient,
  key: Buffer,
): Promise<{ readonly kv: EtcdKeyValue | undefined; readonly revision: number }> {
  const request = { key, rangeEnd: Buffer.alloc(0), limit: 1 };
  const { kvs, header } = await client.read(etcdKvMethods.range, request);
  return { kv: kvs[0], revision: header?.revision ?? 0 };
}
