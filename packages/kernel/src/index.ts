export type { CatchUp, CatchUpCursor } from './fan-out/catch-up.ts';
export { CatchUpReads, type CatchUpReadsOptions } from './fan-out/catch-up-reads.ts';
export { DirectFanOut, type DirectFanOutOptions } from './fan-out/direct-fan-out.ts';
export type { Attachment, AttachOptions, FanOut, FanOutReader } from './fan-out/fan-out.ts';
export type { BrokenBatch, BrokenBatchListener, DecodedBatch } from './log/decoded-batch.ts';
export type { BatchVisitor, LogReader, LogReadOptions, LogReadStep } from './log/log-reader.ts';
export type { LogWriter } from './log/log-writer.ts';
export { PartitionWriter, type PartitionWriterOptions } from './log/partition-writer.ts';
export { RecordReader, type RecordReaderOptions } from './log/record-reader.ts';
export { BrokerPeer } from './coordinator/broker-peer.ts';
export type {
  CallCoordinatorOptions,
  CoordinatorCalls,
  CoordinatorOwner,
} from './coordinator/coordinator-calls.ts';
export {
  CoordinatorClient,
  type CoordinatorClientOptions,
} from './coordinator/coordinator-client.ts';
export {
  type CoordinatorCatalog,
  CoordinatorHost,
  type CoordinatorHostOptions,
  type HostedCoordinator,
  type OutgoingNotice,
} from './coordinator/coordinator-host.ts';
export { coordinatorIndex } from './coordinator/coordinator-index.ts';
export { entitiesOf, type Entity, EntityTable } from './coordinator/entity-table.ts';
export type { SnapshotPolicy } from './coordinator/snapshot-writer.ts';
export type {
  Caller,
  CoordinatorContext,
  CoordinatorKind,
  MachineTimer,
  Reply,
  StateMachine,
} from './coordinator/state-machine.ts';
export type { Outbox, OutboxEntry, OutboxOutcome } from './outbox/outbox.ts';
export { murmur2, partitionOf } from './names/murmur2.ts';
export {
  decodeReservedHeader,
  encodeReservedHeader,
  type HeaderEncoding,
  isReservedHeader,
  isReservedHeaderAt,
  type ReservedHeader,
  reservedHeaderAt,
  reservedHeaders,
  type ReservedValue,
} from './names/reserved-headers.ts';
export {
  baseOfName,
  type NamedTopic,
  type RecordOrigin,
  type Route,
  sharedTopic,
  type Source,
  TopicNames,
} from './names/topic-names.ts';
export { shareStrategies, type ShareStrategy } from './share-group/member-choice.ts';
export {
  endShareMember,
  ShareGroupClient,
  type ShareGroupClientOptions,
} from './share-group/share-group-client.ts';
export {
  createShareGroupKind,
  shareGroupKind,
  type ShareGroupKindOptions,
  type ShareGroupLimits,
} from './share-group/share-group-kind.ts';
export { newShareGroupCounts, type ShareGroupCounts } from './share-group/share-group.ts';
export {
  type ShareMemberOptions,
  ShareMembership,
  type ShareReceiver,
} from './share-group/share-membership.ts';
export type { ShareArrival } from './share-group/share-message.ts';
export {
  shareGroupId,
  type ShareProtocol,
  type ShareSource,
} from './share-group/share-protocol.ts';
export { copyOfRecord, Delivery, type ShareTraits } from './share-group/share-record.ts';
export type { ShareOutcome } from './share-group/share-window.ts';
