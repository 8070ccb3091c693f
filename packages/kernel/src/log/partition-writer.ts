import { shardId } from '@robustmq/core';
import type { JournalClient, RecordAppender } from '@robustmq/journal-client';
import type { Catalog } from '@robustmq/placement-client';
import type { LogWriter } from './log-writer.ts';

export interface PartitionWriterOptions {
  readonly catalog: Pick<Catalog, 'topic'>;
  readonly journal: Pick<JournalClient, 'appender'>;
}

/** Finds appenders by the catalog's topics. */
export class PartitionWriter implements LogWriter {
  readonly #options: PartitionWriterOptions;

  constructor(options: PartitionWriterOptions) {
    this.#options = options;
  }

  appender(topic: string, partition: number): RecordAppender | undefined {
    const { catalog, journal } = this.#options;
    const shard = catalog.topic(topic)?.shardIds[partition];
    return shard === undefined ? undefined : journal.appender(shardId(shard));
  }
}
