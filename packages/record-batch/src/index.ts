export {
  BATCH_BYTES_OUTSIDE_CRC,
  BATCH_HEADER_BYTES,
  batchAttribute,
  batchAttributes,
  batchBaseOffset,
  batchBaseSequence,
  batchBaseTimestampMs,
  batchBytes,
  batchCodec,
  batchCrc,
  type BatchFault,
  batchFault,
  type BatchHeader,
  batchLastOffset,
  batchLastOffsetDelta,
  batchMaxTimestampMs,
  type BatchOrigin,
  batchProducerEpoch,
  batchProducerId,
  batchRecordCount,
  checkBatch,
  isControlBatch,
  isTransactionalBatch,
  readBatchHeader,
  setBaseOffset,
  setPartitionLeaderEpoch,
  verifyBatchCrc,
} from './batch-header.ts';
export { type BatchOptions, RECORD_OVERHEAD_BYTES_MAX, RecordBatchWriter } from './batch-writer.ts';
export { type CompressionCodec, compressionCodecs } from './codec.ts';
export { compress, decompress, decompressAsync, decompressedBytesMax } from './compression.ts';
export { crc32c } from './crc32c.ts';
export {
  decodeEndTransactionMarker,
  encodeEndTransactionMarker,
  type EndTransactionMarker,
  type TransactionEnd,
} from './end-transaction-marker.ts';
export {
  FilterBuilder,
  filterMatches,
  isFilter,
  mergeFilters,
  nameToken,
  prefixToken,
  TOKENS_PER_NAME_MAX,
  tokensOfName,
} from './filter-tokens.ts';
export {
  FIRST_CHAIN,
  FRAME_HEADER_BYTES,
  type FrameControl,
  type FrameFault,
  frameFault,
  type FrameKind,
  type FrameResult,
  type FrameView,
  readFrame,
  verifyFrame,
} from './frame.ts';
export { FrameCursor, type FrameStep } from './frame-cursor.ts';
export {
  type BatchFrame,
  type EncodedFrame,
  encodeFrame,
  encodeFrameHeaderInto,
  encodeFrameInto,
  encodeSnapshotFrame,
  frameBytes,
  type FrameStamp,
} from './frame-encoder.ts';
export { HeaderBlock, noHeaders, type RecordHeader } from './header-block.ts';
export { decompressesOffLoop, plainRecords, RecordCursor } from './record-cursor.ts';
export { recordsOf, type RecordView } from './record-view.ts';
export { ScratchPool } from './scratch-pool.ts';
