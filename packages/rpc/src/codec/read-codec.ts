import type { Isolation, ReadRequest, ReadResponse } from '../generated/robustmq/v1/journal.ts';
import { type MessageCodec, messageCodec, noBytes } from './message-codec.ts';
import { listSize, writeList, writeStatus } from './message-list.ts';
import { abortedFields, statusFields, statusSize } from './status-codec.ts';
import { boolSize, bytesSize, fixed32ListSize, uint32Size, uint64Size } from './wire-writer.ts';

export const readRequestCodec: MessageCodec<ReadRequest> = messageCodec({
  size: (request) =>
    uint64Size(request.readId) +
    uint64Size(request.shardId) +
    uint64Size(request.fromOffset) +
    uint32Size(request.bytesMax) +
    uint32Size(request.waitMs) +
    uint32Size(request.isolation) +
    fixed32ListSize(request.filterTokens) +
    uint32Size(request.scanBytesMax) +
    uint32Size(request.generation) +
    boolSize(request.cancel) +
    uint32Size(request.expectedEpoch),

  write(writer, request) {
    writer.uint(1, request.readId);
    writer.uint(2, request.shardId);
    writer.uint(3, request.fromOffset);
    writer.uint(4, request.bytesMax);
    writer.uint(5, request.waitMs);
    writer.uint(6, request.isolation);
    writer.fixed32List(7, request.filterTokens);
    writer.uint(8, request.scanBytesMax);
    writer.uint(9, request.generation);
    writer.bool(10, request.cancel);
    writer.uint(11, request.expectedEpoch);
  },

  read(reader) {
    const request: ReadRequest = {
      readId: 0,
      shardId: 0,
      fromOffset: 0,
      bytesMax: 0,
      waitMs: 0,
      isolation: 0,
      filterTokens: [],
      scanBytesMax: 0,
      generation: 0,
      cancel: false,
      expectedEpoch: 0,
    };
    while (reader.more) {
      const tag = reader.tag();
      if (tag === 8) request.readId = reader.uint64();
      else if (tag === 16) request.shardId = reader.uint64();
      else if (tag === 24) request.fromOffset = reader.uint64();
      else if (tag === 32) request.bytesMax = reader.uint32();
      else if (tag === 40) request.waitMs = reader.uint32();
      else if (tag === 48) request.isolation = reader.int32() as Isolation;
      else if (tag === 58) reader.fixed32List(request.filterTokens);
      else if (tag === 61) request.filterTokens.push(reader.fixed32());
      else if (tag === 64) request.scanBytesMax = reader.uint32();
      else if (tag === 72) request.generation = reader.uint32();
      else if (tag === 80) request.cancel = reader.bool();
      else if (tag === 88) request.expectedEpoch = reader.uint32();
      else reader.skip(tag);
    }
    return request;
  },
});

export const readResponseCodec: MessageCodec<ReadResponse> = messageCodec({
  size: (response) =>
    uint64Size(response.readId) +
    statusSize(response.status) +
    bytesSize(response.frames) +
    uint64Size(response.nextOffset) +
    uint64Size(response.highWatermark) +
    uint64Size(response.lastStableOffset) +
    boolSize(response.segmentEnded) +
    listSize(abortedFields, response.aborted),

  write(writer, response) {
    writer.uint(1, response.readId);
    writeStatus(writer, 2, response.status);
    writer.bytes(3, response.frames);
    writer.uint(4, response.nextOffset);
    writer.uint(5, response.highWatermark);
    writer.uint(6, response.lastStableOffset);
    writer.bool(7, response.segmentEnded);
    writeList(writer, 8, abortedFields, response.aborted);
  },

  read(reader) {
    const response: ReadResponse = {
      readId: 0,
      status: undefined,
      frames: noBytes,
      nextOffset: 0,
      highWatermark: 0,
      lastStableOffset: 0,
      segmentEnded: false,
      aborted: [],
    };
    while (reader.more) {
      const tag = reader.tag();
      if (tag === 8) response.readId = reader.uint64();
      else if (tag === 18) response.status = reader.message(statusFields.read);
      else if (tag === 26) response.frames = reader.bytes();
      else if (tag === 32) response.nextOffset = reader.uint64();
      else if (tag === 40) response.highWatermark = reader.uint64();
      else if (tag === 48) response.lastStableOffset = reader.uint64();
      else if (tag === 56) response.segmentEnded = reader.bool();
      else if (tag === 66) response.aborted.push(reader.message(abortedFields.read));
      else reader.skip(tag);
    }
    return response;
  },
});
