import type {
  ReplicateEntry,
  ReplicateRequest,
  ReplicateResponse,
  ReplicateResult,
} from '../generated/robustmq/v1/journal.ts';
import { type MessageCodec, messageCodec, type MessageFields, noBytes } from './message-codec.ts';
import { listSize, writeList, writeStatus } from './message-list.ts';
import { statusFields, statusSize } from './status-codec.ts';
import { bytesSize, uint32Size, uint64Size } from './wire-writer.ts';

const entryFields: MessageFields<ReplicateEntry> = {
  size: (entry) =>
    bytesSize(entry.segmentId) +
    uint32Size(entry.epoch) +
    uint64Size(entry.previousLength) +
    bytesSize(entry.frames) +
    uint64Size(entry.commitLength) +
    uint64Size(entry.baseOffset),

  write(writer, entry) {
    writer.bytes(1, entry.segmentId);
    writer.uint(2, entry.epoch);
    writer.uint(3, entry.previousLength);
    writer.bytes(4, entry.frames);
    writer.uint(5, entry.commitLength);
    writer.uint(6, entry.baseOffset);
  },

  read(reader) {
    const entry: ReplicateEntry = {
      segmentId: noBytes,
      epoch: 0,
      previousLength: 0,
      frames: noBytes,
      commitLength: 0,
      baseOffset: 0,
    };
    while (reader.more) {
      const tag = reader.tag();
      if (tag === 10) entry.segmentId = reader.bytes();
      else if (tag === 16) entry.epoch = reader.uint32();
      else if (tag === 24) entry.previousLength = reader.uint64();
      else if (tag === 34) entry.frames = reader.bytes();
      else if (tag === 40) entry.commitLength = reader.uint64();
      else if (tag === 48) entry.baseOffset = reader.uint64();
      else reader.skip(tag);
    }
    return entry;
  },
};

export const replicateRequestCodec: MessageCodec<ReplicateRequest> = messageCodec({
  size: (request) => listSize(entryFields, request.entries),

  write: (writer, request) => writeList(writer, 1, entryFields, request.entries),

  read(reader) {
    const request: ReplicateRequest = { entries: [] };
    while (reader.more) {
      const tag = reader.tag();
      if (tag === 10) request.entries.push(reader.message(entryFields.read));
      else reader.skip(tag);
    }
    return request;
  },
});

const resultFields: MessageFields<ReplicateResult> = {
  size: (result) =>
    bytesSize(result.segmentId) +
    uint32Size(result.epoch) +
    statusSize(result.status) +
    uint64Size(result.length) +
    uint64Size(result.durableLength),

  write(writer, result) {
    writer.bytes(1, result.segmentId);
    writer.uint(2, result.epoch);
    writeStatus(writer, 3, result.status);
    writer.uint(4, result.length);
    writer.uint(5, result.durableLength);
  },

  read(reader) {
    const result: ReplicateResult = {
      segmentId: noBytes,
      epoch: 0,
      status: undefined,
      length: 0,
      durableLength: 0,
    };
    while (reader.more) {
      const tag = reader.tag();
      if (tag === 10) result.segmentId = reader.bytes();
      else if (tag === 16) result.epoch = reader.uint32();
      else if (tag === 26) result.status = reader.message(statusFields.read);
      else if (tag === 32) result.length = reader.uint64();
      else if (tag === 40) result.durableLength = reader.uint64();
      else reader.skip(tag);
    }
    return result;
  },
};

export const replicateResponseCodec: MessageCodec<ReplicateResponse> = messageCodec({
  size: (response) => listSize(resultFields, response.results) + uint64Size(response.creditBytes),

  write(writer, response) {
    writeList(writer, 1, resultFields, response.results);
    writer.uint(2, response.creditBytes);
  },

  read(reader) {
    const response: ReplicateResponse = { results: [], creditBytes: 0 };
    while (reader.more) {
      const tag = reader.tag();
      if (tag === 10) response.results.push(reader.message(resultFields.read));
      else if (tag === 16) response.creditBytes = reader.uint64();
      else reader.skip(tag);
    }
    return response;
  },
});
