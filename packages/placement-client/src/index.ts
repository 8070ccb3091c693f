export { Catalog, type CatalogChange, type CatalogListener, type WaitOptions } from './catalog.ts';
export {
  NodeRegistration,
  type NodeRegistrationOptions,
  type Registration,
} from './node-registration.ts';
export {
  PlacementClient,
  type PlacementClientOptions,
  type ProducerIdBlock,
  type PrepareOrder,
  type RollOrder,
  type ShardOutcome,
  type TopicChange,
  type TopicOutcome,
} from './placement-client.ts';
