import { OperatingError } from '@robustmq/core';
import { batchBytes, checkBatch, isFilter, verifyBatchCrc } from '@robustmq/record-batch';
import { AckLevel as WireAckLevel, type AppendEntry } from '@robustmq/rpc';
import type { BatchFacts } from '../core/batch-facts.ts';
import { batchFacts } from '../core/fold-frames.ts';
import type { AckLevel } from '../core/pending-append.ts';

/**
 * Checks what a client sends before it becomes a part of the log: structure, checksum, filter and
 * producer fields. Throws CORRUPT_BATCH, BATCH_TOO_LARGE or INVALID_ARGUMENT.
 */
export function checkAppendEntry(entry: AppendEntry): BatchFacts {
  const { batch, filter, writerEpoch } = entry;
  checkBatch(batch, 0, batch.length, 'producer');
  const bytes = batchBytes(batch, 0);
  if (bytes !== batch.length) {
    throw corrupt(
      `it has ${batch.length} bytes and declares ${bytes}: send one batch in each entry`,
    );
  }
  if (!verifyBatchCrc(batch, 0, bytes)) throw corrupt('its CRC32C is wrong: send it again');
  if (!isFilter(filter)) throw invalid('a key filter is a sorted list of distinct u32 tokens');
  const facts = batchFacts(batch, 0, writerEpoch);
  checkProducer(facts);
  return facts;
}

function checkProducer(facts: BatchFacts): void {
  const { producerId, producerEpoch, baseSequence, isControl, isTransactional } = facts;
  if (producerId < 0) {
    if (isControl || isTransactional) throw invalid('a transaction needs a producer id');
    return;
  }
  if (producerEpoch < 0) throw invalid(`producer ${producerId} has no epoch`);
  if (isControl && facts.control === 'none') {
    throw invalid('a control batch ends a transaction; other ones are not known here');
  }
  if (!isControl && baseSequence < 0) throw invalid(`producer ${producerId} sends no sequence`);
}

export function ackLevelOf(level: WireAckLevel): AckLevel {
  switch (level) {
    case WireAckLevel.NONE:
      return 'none';
    case WireAckLevel.LEADER:
      return 'leader';
    case WireAckLevel.ALL:
      return 'all';
    case WireAckLevel.QUORUM:
      return 'quorum';
    default:
      throw invalid(`ack level ${String(level)} is not known`);
  }
}

function corrupt(what: string): OperatingError {
  return new OperatingError('CORRUPT_BATCH', `the batch was refused: ${what}`);
}

function invalid(what: string): OperatingError {
  return new OperatingError('INVALID_ARGUMENT', `the batch was refused: ${what}`);
}
