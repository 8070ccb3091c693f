import type {
  Isolation,
  TailChunk,
  TailClose,
  TailOpen,
  TailRequest,
  TailResponse,
} from '../generated/robustmq/v1/journal.ts';
import { type MessageCodec, messageCodec, type MessageFields, noBytes } from './message-codec.ts';
import { listSize, writeList, writeStatus } from './message-list.ts';
import { abortedFields, statusFields, statusSize } from './status-codec.ts';
import { boolSize, bytesSize, fixed32ListSize, uint32Size, uint64Size } from './wire-writer.ts';

const openFields: MessageFields<TailOpen> = {
  size: (open) =>
    uint32Size(open.tailId) +
    uint64Size(open.shardId) +
    uint64Size(open.fromOffset) +
    uint32Size(open.isolation) +
    fixed32ListSize(open.filterTokens) +
    uint32Size(open.expectedEpoch),

  write(writer, open) {
    writer.uint(1, open.tailId);
    writer.uint(2, open.shardId);
    writer.uint(3, open.fromOffset);
    writer.uint(4, open.isolation);
    writer.fixed32List(5, open.filterTokens);
    writer.uint(6, open.expectedEpoch);
  },

  read(reader) {
    const open: TailOpen = {
      tailId: 0,
      shardId: 0,
      fromOffset: 0,
      isolation: 0,
      filterTokens: [],
      expectedEpoch: 0,
    };
    while (reader.more) {
      const tag = reader.tag();
      if (tag === 8) open.tailId = reader.uint32();
      else if (tag === 16) open.shardId = reader.uint64();
      else if (tag === 24) open.fromOffset = reader.uint64();
      else if (tag === 32) open.isolation = reader.int32() as Isolation;
      else if (tag === 42) reader.fixed32List(open.filterTokens);
      else if (tag === 45) open.filterTokens.push(reader.fixed32());
      else if (tag === 48) open.expectedEpoch = reader.uint32();
      else reader.skip(tag);
    }
    return open;
  },
};

const closeFields: MessageFields<TailClose> = {
  size: (close) => uint32Size(close.tailId),

  write: (writer, close) => writer.uint(1, close.tailId),

  read(reader) {
    const close: TailClose = { tailId: 0 };
    while (reader.more) {
      const tag = reader.tag();
      if (tag === 8) close.tailId = reader.uint32();
      else reader.skip(tag);
    }
    return close;
  },
};

export const tailRequestCodec: MessageCodec<TailRequest> = messageCodec({
  size: (request) =>
    listSize(openFields, request.opens) +
    listSize(closeFields, request.closes) +
    uint64Size(request.creditBytes),

  write(writer, request) {
    writeList(writer, 1, openFields, request.opens);
    writeList(writer, 2, closeFields, request.closes);
    writer.uint(3, request.creditBytes);
  },

  read(reader) {
    const request: TailRequest = { opens: [], closes: [], creditBytes: 0 };
    while (reader.more) {
      const tag = reader.tag();
      if (tag === 10) request.opens.push(reader.message(openFields.read));
      else if (tag === 18) request.closes.push(reader.message(closeFields.read));
      else if (tag === 24) request.creditBytes = reader.uint64();
      else reader.skip(tag);
    }
    return request;
  },
});

const chunkFields: MessageFields<TailChunk> = {
  size: (chunk) =>
    uint32Size(chunk.tailId) +
    statusSize(chunk.status) +
    bytesSize(chunk.frames) +
    uint64Size(chunk.nextOffset) +
    uint64Size(chunk.highWatermark) +
    uint64Size(chunk.lastStableOffset) +
    boolSize(chunk.segmentEnded) +
    listSize(abortedFields, chunk.aborted),

  write(writer, chunk) {
    writer.uint(1, chunk.tailId);
    writeStatus(writer, 2, chunk.status);
    writer.bytes(3, chunk.frames);
    writer.uint(4, chunk.nextOffset);
    writer.uint(5, chunk.highWatermark);
    writer.uint(6, chunk.lastStableOffset);
    writer.bool(7, chunk.segmentEnded);
    writeList(writer, 8, abortedFields, chunk.aborted);
  },

  read(reader) {
    const chunk: TailChunk = {
      tailId: 0,
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
      if (tag === 8) chunk.tailId = reader.uint32();
      else if (tag === 18) chunk.status = reader.message(statusFields.read);
      else if (tag === 26) chunk.frames = reader.bytes();
      else if (tag === 32) chunk.nextOffset = reader.uint64();
      else if (tag === 40) chunk.highWatermark = reader.uint64();
      else if (tag === 48) chunk.lastStableOffset = reader.uint64();
      else if (tag === 56) chunk.segmentEnded = reader.bool();
      else if (tag === 66) chunk.aborted.push(reader.message(abortedFields.read));
      else reader.skip(tag);
    }
    return chunk;
  },
};

export const tailResponseCodec: MessageCodec<TailResponse> = messageCodec({
  size: (response) => listSize(chunkFields, response.chunks),

  write: (writer, response) => writeList(writer, 1, chunkFields, response.chunks),

  read(reader) {
    const response: TailResponse = { chunks: [] };
    while (reader.more) {
      const tag = reader.tag();
      if (tag === 10) response.chunks.push(reader.message(chunkFields.read));
      else reader.skip(tag);
    }
    return response;
  },
});
