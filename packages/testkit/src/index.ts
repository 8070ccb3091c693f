export { askParcel, exchangeParcels, type Parcel, parcel } from './parcel.ts';
export { MemoryMetadataStore } from './memory-metadata-store.ts';
export { metadataStoreContract, type MetadataStoreUnderTest } from './metadata-store-contract.ts';
export { turns, VirtualClock } from './virtual-clock.ts';
export {
  type TestedTransportOptions,
  transportConformance,
  type TransportConformance,
} from './transport-conformance.ts';
