export type { PlacementConfig } from './controller/controller.ts';
export {
  defaultPlacementConfig,
  type PlacementOptions,
  type PlacementServer,
  startPlacement,
} from './placement-server.ts';
export { folderTarget } from './rebuild/folder-target.ts';
export { type RebuildReport, rebuildPlacement } from './rebuild/rebuild-placement.ts';
export type { RebuiltContent } from './rebuild/rebuild-target.ts';
export { CommitSignal } from './store/commit-signal.ts';
export { EtcdStore, type EtcdStoreOptions } from './store/etcd/etcd-store.ts';
export { LeadershipQueue } from './store/leadership-queue.ts';
export {
  type ChangeBatch,
  checkOperations,
  type Condition,
  type Leadership,
  type LeadOptions,
  type MetadataStore,
  type Operation,
  type RangeOptions,
  type RangeResult,
  type StoredChange,
  type StoredValue,
  type TransactionResult,
} from './store/metadata-store.ts';
export { SqliteStore, type SqliteStoreOptions } from './store/sqlite-store.ts';
