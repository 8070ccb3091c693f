import {
  type Clock,
  type Logger,
  incarnation as incarnationOf,
  nodeId as nodeIdOf,
  OperatingError,
  type Random,
  toOperatingError,
  advertisedAddress,
  endProcess,
} from '@robustmq/core';
import { NodeRegistration, PlacementClient } from '@robustmq/placement-client';
import {
  type JournalHealth,
  type Node,
  NodeRole,
  NodeState,
  type RpcServer,
  type Transport,
  segmentIdToBytes,
} from '@robustmq/rpc';
import type { Registry } from 'prom-client';
import { registerJournalMetrics, type SyncTimes } from './journal-metrics.ts';
import { type LagMeter, LoopLag } from './loop-lag.ts';
import { journalLimits, type JournalLimits } from './node/journal-limits.ts';
import { JournalNode } from './node/journal-node.ts';
import { registerJournal } from './node/journal-services.ts';
import type { Disk } from './storage/disk.ts';
import { NodeDisk } from './storage/node-disk.ts';
import { openStorage } from './storage/open-storage.ts';
import type { StorageLimits } from './storage/storage-options.ts';
import type { JournalStorage } from './storage/storage.ts';

/** Health travels with the heartbeats, each half second. */
const healthEachMs = 500;
/** How long the start waits for placement before it serves without it. */
const registrationWaitMs = 3_000;

export interface JournalServerOptions {
  /** Folder of the log and the segment files; made when it is not there. */
  readonly dataDir: string;
  /** HOST:PORT; port 0 takes a free one. */
  readonly listen: string;
  /** Host under which others reach this journal; the host of `listen` when not given. */
  readonly advertiseHost?: string;
  /** HOST:PORT of each placement server. */
  readonly placement: readonly string[];
  /** Name of the node; made up and kept in the data folder when not given. */
  readonly nodeId?: string;
  readonly zone?: string;
  readonly walFileBytes?: number;
  /** Free bytes below which appends are refused. */
  readonly diskReserveBytes?: number;
  readonly unflushedBytesMax?: number;
  /** Each sealed replica is read again within so long, and at most so many bytes of them in a second. */
  readonly scrubPeriodMs?: number;
  readonly scrubBytesPerSecondMax?: number;
  readonly limits?: Partial<JournalLimits>;
  /** Bounds of the storage beside those above. */
  readonly storageLimits?: Partial<StorageLimits>;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Where the metrics go (`robustmq_journal_*`). */
  readonly registry: Registry;
  /** Instead of the data folder. */
  readonly disk?: Disk;
  /** Instead of measuring how late the event loop is. */
  readonly loopLag?: LagMeter;
  /**
   * The journal cannot go on: its disk fails, or placement refuses it for good. The default throws
   * outside of every call stack, so that the process ends.
   */
  readonly onFatal?: (error: Error) => void;
}

/** A journal that serves. Disposing it seals what it leads, if placement is there, and syncs. */
export interface JournalServer extends AsyncDisposable {
  /** HOST:PORT that it listens on. */
  readonly address: string;
  readonly nodeId: string;
  readonly incarnation: number;
  /** Why it cannot serve; undefined when it can. */
  notReady(): string | undefined;
}

/**
 * Starts a journal: recovers the data folder, listens, and registers with placement. It serves without
 * placement what it can. Throws ALREADY_EXISTS when another process has the data folder, UNSUPPORTED
 * for one of another format, WRONG_CLUSTER when placement serves another cluster.
 */
export async function startJournal(options: JournalServerOptions): Promise<JournalServer> {
  const onFatal = options.onFatal ?? endProcess(options.logger, 'journal');
  const storage = await openStorage({
    disk: options.disk ?? new NodeDisk(options.dataDir),
    clock: options.clock,
    random: options.random,
    logger: options.logger,
    onFatal,
    nodeId: options.nodeId === undefined ? undefined : nodeIdOf(options.nodeId),
    limits: storageLimits(options),
  });
  const server = new RunningJournal(options, storage, onFatal);
  try {
    await server.start();
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
  return server;
}

function storageLimits(options: JournalServerOptions): Partial<StorageLimits> {
  const { walFileBytes, diskReserveBytes, unflushedBytesMax } = options;
  const { scrubPeriodMs, scrubBytesPerSecondMax } = options;
  return {
    ...options.storageLimits,
    ...(walFileBytes !== undefined && { walFileBytes }),
    ...(diskReserveBytes !== undefined && { reserveBytes: diskReserveBytes }),
    ...(unflushedBytesMax !== undefined && { unflushedBytesMax }),
    ...(scrubPeriodMs !== undefined && { scrubPeriodMs }),
    ...(scrubBytesPerSecondMax !== undefined && { scrubBytesPerSecondMax }),
  };
}

class RunningJournal implements JournalServer {
  readonly #options: JournalServerOptions;
  readonly #storage: JournalStorage;
  readonly #onFatal: (error: Error) => void;
  readonly #placement: PlacementClient;
  readonly #node: JournalNode;
  readonly #syncTimes: SyncTimes;
  readonly #lag: LagMeter;
  #rpc: RpcServer | undefined;
  #registration: NodeRegistration | undefined;
  #cancelHealth: () => void = () => {};
  #wasRegistered = false;
  #state: 'starting' | 'serving' | 'stopping' = 'starting';

  constructor(
    options: JournalServerOptions,
    storage: JournalStorage,
    onFatal: (error: Error) => void,
  ) {
    const { transport, placement, clock, random, logger, registry } = options;
    this.#options = options;
    this.#storage = storage;
    this.#onFatal = onFatal;
    this.#lag = options.loopLag ?? new LoopLag();
    const { nodeId } = storage;
    this.#placement = new PlacementClient({
      placement,
      transport,
      clock,
      random,
      logger,
      nodeId,
    });
    const limits = { ...journalLimits, ...options.limits };
    const port = this.#placement;
    this.#node = new JournalNode({ storage, placement: port, transport, clock, limits, logger });
    this.#syncTimes = registerJournalMetrics(registry, this.#node);
  }

  get address(): string {
    return this.#rpc?.address ?? this.#options.listen;
  }

  get nodeId(): string {
    return this.#storage.nodeId;
  }

  get incarnation(): number {
    return this.#storage.incarnation;
  }

  notReady(): string | undefined {
    if (this.#state === 'starting') return 'the journal starts';
    if (this.#state === 'stopping') return 'the journal shuts down';
    const { readOnly, freeBytes } = this.#storage.stats;
    if (!readOnly) return undefined;
    return `its disk is below the reserve (${freeBytes} bytes are free): appends are refused, reads go on`;
  }

  async start(): Promise<void> {
    const { transport, listen } = this.#options;
    this.#rpc = await transport.listen(listen, (registry) => registerJournal(registry, this.#node));
    this.#placement.start();
    await this.#register(this.#rpc.address);
    this.#state = 'serving';
  }

  /** Resolves once registered, or when placement has not answered for a while; rejects when refused for good. */
  async #register(address: string): Promise<void> {
    const { placement, transport, clock, random, logger } = this.#options;
    const { clusterId, placementEpoch } = this.#storage;
    const first = Promise.withResolvers<void>();
    const registration = new NodeRegistration({
      placement,
      transport,
      clock,
      random,
      logger,
      node: this.#describe(address),
      clusterId,
      placementEpoch,
      onOtherDisk: (incarnationMin) => this.#takeOver(incarnationMin),
      onRegistered: (registered) => {
        this.#wasRegistered = true;
        void this.#adopt(registered.clusterId, registered.placementEpoch).then(first.resolve);
      },
      onRefused: (error) => {
        if (error.code !== 'WRONG_CLUSTER' && error.code !== 'FENCED') return;
        if (this.#state === 'starting') first.reject(error);
        else this.#onFatal(error);
      },
    });
    this.#registration = registration;
    this.#updateHealth();
    registration.start();
    const cancel = clock.setTimer(registrationWaitMs, first.resolve);
    await first.promise;
    cancel();
    if (!registration.registered) logger.warn({ placement }, 'placement is away: serving without');
  }

  /** Placement knows another disk under this id: this one goes on above its incarnations. */
  async #takeOver(incarnationMin: number): Promise<number | undefined> {
    if (this.#wasRegistered) {
      const message = `another disk took the place of journal ${this.nodeId} meanwhile: start it anew to take it back`;
      this.#onFatal(new OperatingError('FENCED', message));
      return undefined;
    }
    try {
      await this.#storage.raiseIncarnation(incarnationOf(incarnationMin));
      return this.#storage.incarnation;
    } catch (thrown) {
      this.#onFatal(toOperatingError(thrown));
      return undefined;
    }
  }

  async #adopt(clusterId: string, placementEpoch: number): Promise<void> {
    try {
      await this.#storage.adoptCluster(clusterId, placementEpoch);
    } catch (thrown) {
      const error = toOperatingError(thrown);
      // An order of a newer placement came first: the one that answered does not know yet that it is over.
      if (error.code === 'FENCED') this.#registration?.leave(error);
      else if (error.code === 'DISK_FULL') this.#tellNoRoom(error);
      else this.#onFatal(error);
    }
  }

  /** It belongs to no cluster yet: each order tries that again, and is refused as long as there is no space. */
  #tellNoRoom({ message }: OperatingError): void {
    const fields = { error: message };
    this.#options.logger.warn(
      fields,
      'this journal cannot join its cluster: make space on its disk',
    );
  }

  #describe(address: string): Node {
    const { advertiseHost, zone = '' } = this.#options;
    const { nodeId, incarnation, diskUuid } = this.#storage;
    return {
      nodeId,
      role: NodeRole.JOURNAL,
      address: advertisedAddress(address, advertiseHost),
      zone,
      incarnation,
      state: NodeState.UNSPECIFIED,
      listeners: [],
      diskUuid,
    };
  }

  readonly #updateHealth = (): void => {
    this.#registration?.update(this.#health());
    this.#cancelHealth = this.#options.clock.setTimer(healthEachMs, this.#updateHealth);
  };

  #health(): JournalHealth {
    const { syncAgeMs, freeBytes, readOnly, unflushedBytes } = this.#storage.stats;
    const { isRunning, bytes, bytesRead } = this.#storage.scrub;
    return {
      loopLagMs: this.#lag.takeMs(),
      syncAgeMs: Math.round(syncAgeMs),
      freeBytes: Math.max(0, freeBytes),
      readOnly,
      ledSegments: this.#node.ledSegments,
      unflushedBytes,
      replicas: this.#node.replicaCount,
      damagedReplicas: this.#node.damagedReplicas,
      damagesFound: this.#storage.damages.count,
      scrubBytes: isRunning ? bytes : 0,
      scrubBytesRead: isRunning ? bytesRead : 0,
      syncP99Ms: this.#syncTimes.p99Ms,
      followers: [...this.#node.followerLags],
      closedSegments: this.#node.closedSegments.map(segmentIdToBytes),
    };
  }

  /** Nothing new, everything durable, known ends told to placement, then the connections and the disk. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'stopping') return;
    this.#state = 'stopping';
    this.#registration?.drain();
    this.#cancelHealth();
    try {
      await this.#node.drain();
    } catch (thrown) {
      const { code, message } = toOperatingError(thrown);
      this.#options.logger.error({ code, message }, 'the journal could not be drained');
    }
    await this.#rpc?.[Symbol.asyncDispose]();
    await this.#registration?.[Symbol.asyncDispose]();
    await this.#placement[Symbol.asyncDispose]();
    this.#lag[Symbol.dispose]();
    await this.#storage[Symbol.asyncDispose]();
  }
}
