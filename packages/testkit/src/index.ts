export { commandMissing, debianPython, pythonModuleMissing } from './debian-package.ts';
export { etcdMissing, EtcdProcess } from './etcd-process.ts';
export {
  FakeJournal,
  type FakeJournalOptions,
  type FakeOrder,
  type FakeReplica,
} from './fake-journal.ts';
export { askParcel, exchangeParcels, type Parcel, parcel } from './parcel.ts';
export { type DiskFaults, MemoryDisk } from './memory-disk.ts';
export { MemoryMetadataStore } from './memory-metadata-store.ts';
export { metadataStoreContract, type MetadataStoreUnderTest } from './metadata-store-contract.ts';
export { turns, VirtualClock } from './virtual-clock.ts';
export {
  type TestedTransportOptions,
  transportConformance,
  type TransportConformance,
} from './transport-conformance.ts';
export {
  type AppendFault,
  FakeJournalTier,
  type FakeJournalTierOptions,
} from './fake-journal-tier.ts';
export { type FakeFrame, FakeShard } from './fake-shard.ts';
export {
  fastClock,
  type JournalFixture,
  recordOf,
  settled,
  startJournalFixture,
  valuesIn,
  valuesOf,
} from './journal-fixture.ts';
export {
  type MemoryAppend,
  type MemoryAppended,
  MemoryLog,
  MemoryLogClient,
  MemoryLogs,
  type MemoryRead,
  type MemoryStep,
} from './memory-log.ts';
export {
  brokerNode,
  CounterBroker,
  type CounterBrokerOptions,
  CounterCluster,
  CounterScript,
  counterShard,
} from './counter-cluster.ts';
export { type CounterCommand, CounterMachine } from './counter-machine.ts';
export {
  type Answers,
  type ConnectFields,
  type MqttVersion,
  RawMqttClient,
} from './raw-mqtt-client.ts';
