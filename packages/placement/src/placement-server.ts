import {
  advertisedAddress,
  type Clock,
  type Logger,
  OperatingError,
  type Random,
} from '@robustmq/core';
import type { RpcServer, Transport } from '@robustmq/rpc';
import type { Registry } from 'prom-client';
import { Controller, type PlacementConfig } from './controller/controller.ts';
import { PlacementMetrics } from './metrics.ts';
import { PlacementAdminService } from './service/placement-admin-service.ts';
import { PlacementNodeService } from './service/placement-node-service.ts';
import type { MetadataStore } from './store/metadata-store.ts';
import { SqliteStore } from './store/sqlite-store.ts';
import { Terms } from './terms.ts';

const DAY_MS = 86_400_000;
const GIB = 1024 ** 3;

/** The shipped behaviour. */
export const defaultPlacementConfig: PlacementConfig = {
  leaseMs: 2_500,
  hungSyncMs: 2_000,
  peerSilentMs: 1_000,
  detectEachMs: 100,
  repairEachMs: 1_000,
  auditEachMs: 1_000,
  downGraceMs: 600_000,
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
  /** Host under which the others reach this server; the host of `listen` when not given. */
  readonly advertiseHost?: string | undefined;
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
  /** The cluster, while this server is the one that decides. */
  readonly clusterId: string | undefined;
  /** Whether this server decides; the others of its store stand by. */
  readonly leads: boolean;
  /** Why it can neither decide nor say who does; undefined when it can. */
  notReady(): string | undefined;
}

/**
 * Starts placement; resolves when it decides, or knows that another server of its store does. Throws
 * CONFLICT when another process has the data folder, INVALID_ARGUMENT when the folder is of another
 * version, UNAVAILABLE when the address is taken, and why etcd refuses.
 */
export async function startPlacement(options: PlacementOptions): Promise<PlacementServer> {
  const running = new AsyncDisposableStack();
  try {
    const store = options.store ?? running.use(SqliteStore.open({ dataDir: options.dataDir }));
    return await serve(options, store, running);
  } catch (error) {
    await running.disposeAsync();
    throw error;
  }
}

async function serve(
  options: PlacementOptions,
  store: MetadataStore,
  running: AsyncDisposableStack,
): Promise<PlacementServer> {
  const { transport, clock, random, logger, listen, advertiseHost } = options;
  const metrics = new PlacementMetrics(options.registry);
  const config = { ...defaultPlacementConfig, ...options.config };
  let terms: Terms | undefined;
  const controller = (): Controller => {
    if (terms === undefined) throw new OperatingError('UNAVAILABLE', 'placement starts');
    return terms.current;
  };
  const nodeService = new PlacementNodeService({ controller, store, metrics });
  const adminService = new PlacementAdminService(controller);
  const rpc: RpcServer = await transport.listen(listen, (registry) => {
    nodeService.register(registry);
    adminService.register(registry);
  });
  const endStreams = (reason: string): void =>
    nodeService.endStreams(new OperatingError('UNAVAILABLE', reason));
  terms = new Terms({
    store,
    clock,
    logger,
    address: advertisedAddress(rpc.address, advertiseHost),
    begin: (leadership) =>
      Controller.start({ store, transport, clock, random, logger, metrics, config }, leadership),
    onEnded: () => endStreams('this placement server decides no more'),
  });
  running.use(terms);
  // Before the term ends: its answers still go out.
  running.use(rpc);
  await terms.start();
  return new RunningPlacement(rpc.address, terms, running, endStreams);
}

class RunningPlacement implements PlacementServer {
  readonly address: string;
  readonly #terms: Terms;
  readonly #running: AsyncDisposableStack;
  readonly #endStreams: (reason: string) => void;
  #stopping = false;

  constructor(
    address: string,
    terms: Terms,
    running: AsyncDisposableStack,
    endStreams: (reason: string) => void,
  ) {
    this.address = address;
    this.#terms = terms;
    this.#running = running;
    this.#endStreams = endStreams;
  }

  get clusterId(): string | undefined {
    return this.#terms.leads ? this.#terms.current.identity.clusterId : undefined;
  }

  get leads(): boolean {
    return this.#terms.leads;
  }

  notReady(): string | undefined {
    if (this.#stopping) return 'placement shuts down';
    const { failure, leads } = this.#terms;
    if (failure === undefined) return undefined;
    return leads
      ? `its store takes no changes: ${failure.message}`
      : `it cannot see its store: ${failure.message}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#endStreams('placement shuts down');
    await this.#running.disposeAsync();
  }
}
