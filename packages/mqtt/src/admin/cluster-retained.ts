import { type Clock, offset, OperatingError, type ShardId } from '@robustmq/core';
import type { PendingBatch, RecordAppender, RecordToAppend } from '@robustmq/journal-client';
import { encodeReservedHeader, type LogWriter } from '@robustmq/kernel';
import type { Catalog } from '@robustmq/placement-client';
import { HeaderBlock, tokensOfName } from '@robustmq/record-batch';
import type { RetainedPlace } from '@robustmq/rpc';

import type { RetainedGateway, RetainedMessage, RetainedPage } from '../session/session-gateway.ts';
import type { RetainedStore } from './retained-list.ts';

export interface ClusterRetainedOptions {
  readonly retained: RetainedGateway;
  readonly catalog: Pick<Catalog, 'shard' | 'topic'>;
  readonly logWriter: LogWriter;
  readonly clock: Clock;
  /** Partitions that can hold what a filter matches. */
  readonly shardsOf: (filter: string) => readonly ShardId[];
}

/** As of an empty retained publish at QoS 1 that comes from no client. */
const clearingHeaders = HeaderBlock.of([
  { name: 'mqtt.qos', value: encodeReservedHeader('mqtt.qos', 1) },
  { name: 'mqtt.retain', value: encodeReservedHeader('mqtt.retain', 1) },
]);

/** All retained messages, over their coordinators and the log. */
export class ClusterRetained implements RetainedStore {
  readonly #options: ClusterRetainedOptions;

  constructor(options: ClusterRetainedOptions) {
    this.#options = options;
  }

  page(filter: string, from: RetainedPlace | undefined, limit: number): Promise<RetainedPage> {
    const { retained, shardsOf } = this.#options;
    // As far as the folds are: an operator who has just published asks again.
    const reached = shardsOf(filter).map((shardId) => ({ shardId, offset: offset(0) }));
    return retained.page(filter, reached, { from, limit });
  }

  async clear(messages: readonly RetainedMessage[]): Promise<void> {
    const batches = new Set<PendingBatch>();
    for (const message of messages) batches.add(await this.#append(message));
    const errors = await Promise.all([...batches].map(settled));
    const failed = errors.find((error) => error !== undefined);
    if (failed !== undefined) throw failed;
  }

  async #append({ topic, shardId }: RetainedMessage): Promise<PendingBatch> {
    const { appender, key } = this.#target(topic, shardId);
    const record: RecordToAppend = {
      timestampMs: this.#options.clock.wallMs(),
      key,
      value: null,
      headers: clearingHeaders,
      filterTokens: tokensOfName(Buffer.from(topic)),
    };
    for (;;) {
      const batch = appender.append(record, 'quorum');
      if (batch !== undefined) return batch;
      await new Promise<void>((resolve) => appender.onWritable(resolve));
    }
  }

  /** It is cleared where it stands, which need not be where the name is published to now. */
  #target(name: string, shardId: ShardId): { appender: RecordAppender; key: Buffer | null } {
    const { catalog, logWriter } = this.#options;
    const shard = catalog.shard(shardId);
    const appender = shard && logWriter.appender(shard.topic, shard.partition);
    if (shard === undefined || appender === undefined) {
      throw new OperatingError('NOT_FOUND', `shard ${shardId} is gone, and "${name}" with it`);
    }
    const prefix = catalog.topic(shard.topic)?.config['mqtt.prefix'] ?? '';
    if (prefix === '') return { appender, key: Buffer.from(name) };
    return { appender, key: name === prefix ? null : Buffer.from(name.slice(prefix.length + 1)) };
  }
}

function settled(batch: PendingBatch): Promise<OperatingError | undefined> {
  return new Promise((resolve) => {
    batch.addListener({ batchSettled: ({ error }) => resolve(error) });
  });
}
