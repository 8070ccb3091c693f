import type { RecordAppender } from '@robustmq/journal-client';

/** Appends records to partitions of topics. */
export interface LogWriter {
  /**
   * The appender of a partition: keep it, looking it up costs. Undefined when the catalog has no
   * such partition.
   */
  appender(topic: string, partition: number): RecordAppender | undefined;
}
