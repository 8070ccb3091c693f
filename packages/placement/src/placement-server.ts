import { type Clock, type Logger, OperatingError, type Random } from '@robustmq/core';
import type { RpcServer, Transport } from '@robustmq/rpc';
import type { Registry } from 'prom-client';
import { Controller, type PlacementConfig } from './controller/controller.ts';
import { PlacementMetrics } from './metrics.ts';
import { PlacementAdminService } from './service/placement-admin-service.ts';
import { PlacementNodeService } from './service/placement-node-service.ts';
import type { MetadataStore } from './store/metadata-store.ts';
import { SqliteStore } from './store/sqlite-store.ts';

const DAY_MS = 86_400_000;
const GIB = 1024 ** 3;

/** The shipped behaviour. */
export const defaultPlacementConfig: PlacementConfig = {
  leaseMs: 2_500,
  hungSyncMs: 2_000,
  detectEachMs: 100,
  repairEachMs: 1_000,
  balanceEachMs: 5_000,
  retentionEachMs: 30_000,
  defaultPartitions: 1,
  defaultTopics: [
    {
      name: 'mqtt',
      partitions: 16,
      config: { 'retention.ms': String(7 * DAY_MS), 'retention.bytes': String(GIB) },
    },
  ],
};

export interface PlacementOptions {
  /** Folder of the metadata store; made when it is not there. */
  readonly dataDir: string;
  /** HOST:PORT; port 0 takes a free one. */
  readonly listen: string;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Where the metrics go (`robustmq_placement_*`). */
  readonly registry: Registry;
  /** What differs from {@link defaultPlacementConfig}. */
  readonly config?: Partial<PlacementConfig>;
  /** A store to use instead of the one in `dataDir`. It stays open when the server is disposed. */
  readonly store?: MetadataStore;
}

/** A placement server that serves. Disposing it ends the watches and closes the store. */
export interface PlacementServer extends AsyncDisposable {
  /** HOST:PORT that it listens on. */
  readonly address: string;
  readonly clusterId: string;
  /** Why it cannot serve; undefined when it can: it listens, and its store takes changes. */
  notReady(): string | undefined;
}

/**
 * Starts placement. Throws CONFLICT when another process has the data folder, INVALID_ARGUMENT when the
 * folder is of another version, UNAVAILABLE when the address is taken.
 */
export async function startPlacement(options: PlacementOptions): Promise<PlacementServer> {
  const store = options.store ?? SqliteStore.open({ dataDir: options.dataDir });
  const closeStore = async (): Promise<void> => {
    if (options.store === undefined) await store[Symbol.asyncDispose]();
  };
  let controller: Controller | undefined;
  try {
    const metrics = new PlacementMetrics(options.registry);
    controller = await startController(options, store, metrics);
    return await serve(options, store, controller, metrics, closeStore);
  } catch (error) {
    await controller?.[Symbol.asyncDispose]();
    await closeStore();
    throw error;
  }
}

function startController(
  options: PlacementOptions,
  store: MetadataStore,
  metrics: PlacementMetrics,
): Promise<Controller> {
  const { transport, clock, random, logger } = options;
  const config = { ...defaultPlacementConfig, ...options.config };
  return Controller.start({ store, transport, clock, random, logger, metrics, config });
}

async function serve(
  { transport, listen }: PlacementOptions,
  store: MetadataStore,
  controller: Controller,
  metrics: PlacementMetrics,
  closeStore: () => Promise<void>,
): Promise<PlacementServer> {
  const nodeService = new PlacementNodeService({ controller, store, metrics });
  const adminService = new PlacementAdminService(controller);
  const rpc: RpcServer = await transport.listen(listen, (registry) => {
    nodeService.register(registry);
    adminService.register(registry);
  });
  let stopping = false;
  return {
    address: rpc.address,
    clusterId: controller.identity.clusterId,
    notReady() {
      if (stopping) return 'placement shuts down';
      const { failure } = controller.ledger;
      return failure && `its store takes no changes: ${failure.message}`;
    },
    async [Symbol.asyncDispose]() {
      stopping = true;
      nodeService.endStreams(new OperatingError('UNAVAILABLE', 'placement shuts down'));
      await rpc[Symbol.asyncDispose]();
      await controller[Symbol.asyncDispose]();
      await closeStore();
    },
  };
}
