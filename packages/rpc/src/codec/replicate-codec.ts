import type { ReplicateRequest, ReplicateResponse } from '../generated/robustmq/v1/journal.ts';
import { type MessageCodec, messageCodec, noBytes } from './message-codec.ts';
import { writeStatus } from './message-list.ts';
import { statusFields, statusSize } from './status-codec.ts';
import { bytesSize, uint32Size, uint64Size } from './wire-writer.ts';

export const replicateRequestCodec: MessageCodec<ReplicateRequest> = messageCodec({
  size: (request) =>
    bytesSize(request.segmentId) +
    uint32Size(request.epoch) +
    uint64Size(request.previousLength) +
    uint32Size(request.previousChain) +
    bytesSize(request.frames) +
    uint64Size(request.commitLength) +
    uint64Size(request.baseOffset),

  write(writer, request) {
    writer.bytes(1, request.segmentId);
    writer.uint(2, request.epoch);
    writer.uint(3, request.previousLength);
    writer.uint(4, request.previousChain);
    writer.bytes(5, request.frames);
    writer.uint(6, request.commitLength);
    writer.uint(7, request.baseOffset);
  },

  read(reader) {
    const request: ReplicateRequest = {
      segmentId: noBytes,
      epoch: 0,
      previousLength: 0,
      previousChain: 0,
      frames: noBytes,
      commitLength: 0,
      baseOffset: 0,
    };
    while (reader.more) {
      const tag = reader.tag();
      if (tag === 10) request.segmentId = reader.bytes();
      else if (tag === 16) request.epoch = reader.uint32();
      else if (tag === 24) request.previousLength = reader.uint64();
      else if (tag === 32) request.previousChain = reader.uint32();
      else if (tag === 42) request.frames = reader.bytes();
      else if (tag === 48) request.commitLength = reader.uint64();
      else if (tag === 56) request.baseOffset = reader.uint64();
      else reader.skip(tag);
    }
    return request;
  },
});

export const replicateResponseCodec: MessageCodec<ReplicateResponse> = messageCodec({
  size: (response) =>
    bytesSize(response.segmentId) +
    uint32Size(response.epoch) +
    statusSize(response.status) +
    uint64Size(response.durableLength) +
    uint64Size(response.creditBytes),

  write(writer, response) {
    writer.bytes(1, response.segmentId);
    writer.uint(2, response.epoch);
    writeStatus(writer, 3, response.status);
    writer.uint(4, response.durableLength);
    writer.uint(5, response.creditBytes);
  },

  read(reader) {
    const response: ReplicateResponse = {
      segmentId: noBytes,
      epoch: 0,
      status: undefined,
      durableLength: 0,
      creditBytes: 0,
    };
    while (reader.more) {
      const tag = reader.tag();
      if (tag === 10) response.segmentId = reader.bytes();
      else if (tag === 16) response.epoch = reader.uint32();
      else if (tag === 26) response.status = reader.message(statusFields.read);
      else if (tag === 32) response.durableLength = reader.uint64();
      else if (tag === 40) response.creditBytes = reader.uint64();
      else reader.skip(tag);
    }
    return response;
  },
});
