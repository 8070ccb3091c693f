const KIB = 1024;
const MIB = 1024 * KIB;
const MINUTE = 60_000;

/** Every bound of a journal outside its storage. Configuration may lower or raise them. */
export const journalLimits = {
  /** Bytes of batches without an answer on one Append stream. */
  appendWindowBytes: 16 * MIB,
  /** Bytes of batches and filters without an answer of one shard, and of all together. */
  inFlightBytesPerShardMax: 32 * MIB,
  inFlightBytesMax: 256 * MIB,
  /** When to come back after one of these bounds was reached. */
  exhaustedRetryMs: 20,
  /** Answers in one message of an Append stream. */
  appendResultsPerMessageMax: 10_000,
  /** Shards of one Append stream that were refused and not resumed. */
  suspendedShardsMax: 100_000,

  /** A batch whose predecessors of the same producer are missing waits so long. */
  earlyHoldMs: 500,
  earlyBatchesMax: 5,
  /** Producers remembered by a shard and by the node. */
  producersPerShardMax: 10_000,
  producersMax: 1_000_000,
  /** A producer is forgotten after so long without a batch, and never sooner than the other. */
  producerIdleExpiryMs: 24 * 60 * MINUTE,
  producerProtectedMs: 15 * MINUTE,
  /** A producer snapshot is written each so many bytes, and after so many were forgotten. */
  snapshotEachBytes: 16 * MIB,
  snapshotEachForgotten: 10_000,
  /** Segments that this node led, whose producers are kept in memory for the next leader. */
  closedProducerStatesMax: 10_000,

  /** Bytes of frames on one Replicate stream that the follower has not taken yet. */
  replicateWindowBytes: 16 * MIB,
  /** Bytes of frames of one segment, and in one message of a Replicate stream. */
  replicateChunkBytesMax: 256 * KIB,
  replicateMessageBytesMax: 512 * KIB,
  /** A follower that is away is tried again after so long, and one without room is sent more. */
  replicateRetryMs: 100,
  /** A follower that says nothing on a new stream is called on a new connection after so long, then twice that. */
  replicateOpenMs: 500,
  replicateOpenMsMax: 2_000,
  /** Segments whose frames are read from the disk for one follower at the same time. */
  replicateReadsRunningMax: 4,

  /** Bytes of frames in one answer; one larger batch alone may pass it. */
  readBytesMax: 4 * MIB,
  readBytesDefault: MIB,
  /** Bytes looked at for a match before answering empty-handed. */
  readScanBytesDefault: 16 * MIB,
  readWaitMsMax: 60_000,
  /** Reads of one stream that wait or run, and that run. */
  readsPerStreamMax: 1_024,
  readsRunningPerStreamMax: 8,

  tailsPerStreamMax: 50_000,
  /** Bytes of frames in one piece and in one message of a Tail stream. */
  tailChunkBytesMax: MIB,
  tailMessageBytesMax: 2 * MIB,
  /** Tails of one stream that read from the disk at the same time. */
  tailReadsRunningPerStreamMax: 4,

  /** Items of one control call. */
  controlItemsMax: 1_000,
  /** Predecessors whose producers are folded at the same time. */
  takeoversRunningMax: 16,
  /** Sealed segments whose aborted transactions are kept in memory. */
  transactionIndexesMax: 256,
  /** A segment is rolled when it has so many aborted transactions. */
  abortedPerSegmentMax: 100_000,

  /** A segment without a policy is rolled at this size and age. */
  segmentBytesDefault: 256 * MIB,
  segmentMsDefault: 7 * 24 * 60 * MINUTE,
  /** How often led segments are looked at for their age, and producers for theirs. */
  sweepEachMs: 5_000,
  /** A roll waits so long, once, for followers that are about to have everything. */
  rollFollowersMs: 50,
  /** After a roll that failed, and while the outcome of one is unknown. */
  rollRetryMs: 5_000,
  rollUnknownRetryMs: 250,
  /** SIGTERM: to make everything durable, and to tell placement. */
  drainDurableMs: 5_000,
  drainRollMs: 5_000,
} as const;

/** The limits as numbers, so that tests and configuration may change some. */
export type JournalLimits = { readonly [Name in keyof typeof journalLimits]: number };
