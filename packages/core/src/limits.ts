const KIB = 1024;
const MIB = 1024 * KIB;

/** The one table of default limits (docs/design.md, section 9). Configuration may lower or raise them. */
export const limits = {
  /** A record batch with its frame header, on the wire, in the log and on disk. */
  batchBytesMax: 8 * MIB,
  /** One gRPC message, both ways; grpc-js stops at 4 MiB unless told. */
  grpcMessageBytesMax: 16 * MIB,
  /** An MQTT packet after authentication. */
  mqttPacketBytesMax: 4 * MIB,
  /** Any packet before authentication. */
  packetBytesBeforeAuthMax: 64 * KIB,
  /** Kafka's max.message.bytes. */
  messageBytesMax: MIB,
  /** Output of a decompression: at most this and at most 16 times the input. */
  decompressedBytesMax: 32 * MIB,
  decompressionRatioMax: 16,
  /** Tokens of a batch's key filter; with more the batch matches everything. */
  filterTokensMax: 1024,
  /** Appends of one producer to one partition that may be unacknowledged. */
  appendsInFlightMax: 5,
} as const;
