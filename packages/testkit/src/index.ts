export { MemoryMetadataStore } from './memory-metadata-store.ts';
export { metadataStoreContract, type MetadataStoreUnderTest } from './metadata-store-contract.ts';
export { turns, VirtualClock } from './virtual-clock.ts';
