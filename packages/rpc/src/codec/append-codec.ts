import type {
  AckLevel,
  AppendEntry,
  AppendRequest,
  AppendResponse,
  AppendResult,
} from '../generated/robustmq/v1/journal.ts';
import { type MessageCodec, messageCodec, type MessageFields, noBytes } from './message-codec.ts';
import { listSize, writeList, writeStatus } from './message-list.ts';
import { statusFields, statusSize } from './status-codec.ts';
import { boolSize, bytesSize, uint32Size, uint64Size } from './wire-writer.ts';

const entryFields: MessageFields<AppendEntry> = {
  size: (entry) =>
    uint64Size(entry.appendId) +
    uint64Size(entry.shardId) +
    uint32Size(entry.expectedEpoch) +
    uint32Size(entry.ackLevel) +
    uint32Size(entry.writerEpoch) +
    boolSize(entry.resume) +
    bytesSize(entry.filter) +
    bytesSize(entry.batch),

  write(writer, entry) {
    writer.uint(1, entry.appendId);
    writer.uint(2, entry.shardId);
    writer.uint(3, entry.expectedEpoch);
    writer.uint(4, entry.ackLevel);
    writer.uint(5, entry.writerEpoch);
    writer.bool(6, entry.resume);
    writer.bytes(7, entry.filter);
    writer.bytes(8, entry.batch);
  },

  read(reader) {
    const entry: AppendEntry = {
      appendId: 0,
      shardId: 0,
      expectedEpoch: 0,
      ackLevel: 0,
      writerEpoch: 0,
      resume: false,
      filter: noBytes,
      batch: noBytes,
    };
    while (reader.more) {
      const tag = reader.tag();
      if (tag === 8) entry.appendId = reader.uint64();
      else if (tag === 16) entry.shardId = reader.uint64();
      else if (tag === 24) entry.expectedEpoch = reader.uint32();
      else if (tag === 32) entry.ackLevel = reader.int32() as AckLevel;
      else if (tag === 40) entry.writerEpoch = reader.uint32();
      else if (tag === 48) entry.resume = reader.bool();
      else if (tag === 58) entry.filter = reader.bytes();
      else if (tag === 66) entry.batch = reader.bytes();
      else reader.skip(tag);
    }
    return entry;
  },
};

export const appendRequestCodec: MessageCodec<AppendRequest> = messageCodec({
  size: (request) => listSize(entryFields, request.entries),

  write: (writer, request) => writeList(writer, 1, entryFields, request.entries),

  read(reader) {
    const request: AppendRequest = { entries: [] };
    while (reader.more) {
      const tag = reader.tag();
      if (tag === 10) request.entries.push(reader.message(entryFields.read));
      else reader.skip(tag);
    }
    return request;
  },
});

const resultFields: MessageFields<AppendResult> = {
  size: (result) =>
    uint64Size(result.appendId) +
    uint64Size(result.baseOffset) +
    uint64Size(result.appendTimeMs) +
    statusSize(result.status) +
    boolSize(result.duplicate),

  write(writer, result) {
    writer.uint(1, result.appendId);
    writer.uint(2, result.baseOffset);
    writer.uint(3, result.appendTimeMs);
    writeStatus(writer, 4, result.status);
    writer.bool(5, result.duplicate);
  },

  read(reader) {
    const result: AppendResult = {
      appendId: 0,
      baseOffset: 0,
      appendTimeMs: 0,
      status: undefined,
      duplicate: false,
    };
    while (reader.more) {
      const tag = reader.tag();
      if (tag === 8) result.appendId = reader.uint64();
      else if (tag === 16) result.baseOffset = reader.uint64();
      else if (tag === 24) result.appendTimeMs = reader.uint64();
      else if (tag === 34) result.status = reader.message(statusFields.read);
      else if (tag === 40) result.duplicate = reader.bool();
      else reader.skip(tag);
    }
    return result;
  },
};

export const appendResponseCodec: MessageCodec<AppendResponse> = messageCodec({
  size: (response) => listSize(resultFields, response.results) + uint64Size(response.creditBytes),

  write(writer, response) {
    writeList(writer, 1, resultFields, response.results);
    writer.uint(2, response.creditBytes);
  },

  read(reader) {
    const response: AppendResponse = { results: [], creditBytes: 0 };
    while (reader.more) {
      const tag = reader.tag();
      if (tag === 10) response.results.push(reader.message(resultFields.read));
      else if (tag === 16) response.creditBytes = reader.uint64();
      else reader.skip(tag);
    }
    return response;
  },
});
