import type { Status } from '../generated/robustmq/v1/common.ts';
import type { AbortedTransaction } from '../generated/robustmq/v1/journal.ts';
import type { MessageFields } from './message-codec.ts';
import { messageSize, stringSize, uint32Size, uint64Size } from './wire-writer.ts';

export const statusFields: MessageFields<Status> = {
  size: (status) =>
    uint32Size(status.code) +
    stringSize(status.message) +
    stringSize(status.hintNodeId) +
    uint32Size(status.hintEpoch) +
    uint32Size(status.retryAfterMs) +
    uint64Size(status.earliestOffset),

  write(writer, status) {
    writer.uint(1, status.code);
    writer.string(2, status.message);
    writer.string(3, status.hintNodeId);
    writer.uint(4, status.hintEpoch);
    writer.uint(5, status.retryAfterMs);
    writer.uint(6, status.earliestOffset);
  },

  read(reader) {
    const status: Status = {
      code: 0,
      message: '',
      hintNodeId: '',
      hintEpoch: 0,
      retryAfterMs: 0,
      earliestOffset: 0,
    };
    while (reader.more) {
      const tag = reader.tag();
      if (tag === 8) status.code = reader.uint32();
      else if (tag === 18) status.message = reader.string();
      else if (tag === 26) status.hintNodeId = reader.string();
      else if (tag === 32) status.hintEpoch = reader.uint32();
      else if (tag === 40) status.retryAfterMs = reader.uint32();
      else if (tag === 48) status.earliestOffset = reader.uint64();
      else reader.skip(tag);
    }
    return status;
  },
};

/** Bytes of a status field; nothing when there is none. */
export function statusSize(status: Status | undefined): number {
  return status === undefined ? 0 : messageSize(statusFields.size(status));
}

export const abortedFields: MessageFields<AbortedTransaction> = {
  size: (aborted) => uint64Size(aborted.producerId) + uint64Size(aborted.firstOffset),

  write(writer, aborted) {
    writer.uint(1, aborted.producerId);
    writer.uint(2, aborted.firstOffset);
  },

  read(reader) {
    const aborted: AbortedTransaction = { producerId: 0, firstOffset: 0 };
    while (reader.more) {
      const tag = reader.tag();
      if (tag === 8) aborted.producerId = reader.uint64();
      else if (tag === 16) aborted.firstOffset = reader.uint64();
      else reader.skip(tag);
    }
    return aborted;
  },
};
