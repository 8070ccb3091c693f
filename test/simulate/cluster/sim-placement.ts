import { type PlacementServer, startPlacement } from '@robustmq/placement';
import { Registry } from 'prom-client';
import { MemoryMetadataStore } from '../../../packages/testkit/src/memory-metadata-store.ts';
import type { SimNetwork } from '../network/sim-network.ts';
import { SimProcess } from '../world/sim-process.ts';
import { LeaderSeat } from '../world/leader-seat.ts';
import { SimStore } from '../world/sim-store.ts';
import { whenSettled } from '../world/when-settled.ts';
import { worldLogger } from '../world/world-logger.ts';

const leaseMs = 3_000;
const lostAnswers = 0.005;

/** What the placement servers of a cluster share: it outlives them. */
export interface SharedStore {
  readonly store: MemoryMetadataStore;
  readonly seat: LeaderSeat;
}

export function sharedStore(servers: number, store = new MemoryMetadataStore()): SharedStore {
  const isShared = servers > 1;
  const seat = new LeaderSeat(isShared ? leaseMs : 0, isShared ? lostAnswers : 0);
  return { store, seat };
}

/** The store as it is now, for one server that nobody else shares it with. */
export function copyOf({ store }: SharedStore): SharedStore {
  return { store: store.clone(), seat: new LeaderSeat(0, 0) };
}

/** A placement server, as it is shipped, on a machine of the world. */
export class SimPlacement {
  readonly process: SimProcess;
  readonly address: string;
  readonly #network: SimNetwork;
  #server: PlacementServer | undefined;

  constructor(name: string, network: SimNetwork) {
    this.process = new SimProcess(name, network.world);
    this.address = `${name}:1`;
    this.#network = network;
  }

  /** Why it does not do its work; undefined when it does. */
  get complaint(): string | undefined {
    return this.process.isAlive ? this.#server?.notReady() : undefined;
  }

  start({ store, seat }: SharedStore): void {
    const { process } = this;
    const { world } = process;
    process.begin();
    const { life } = process;
    const started: Promise<PlacementServer> = startPlacement({
      dataDir: '',
      listen: this.address,
      transport: this.#network.transportOf(process),
      clock: process.clock,
      random: process.newRandom(),
      logger: worldLogger(process),
      registry: new Registry(),
      store: new SimStore(store, process, seat),
      config: { defaultTopics: [], retentionEachMs: 2_000, downGraceMs: 5_000 },
    });
    const isSameLife = (): boolean => process.isAlive && process.life === life;
    whenSettled(
      started,
      (server) => {
        if (isSameLife()) this.#server = server;
      },
      (thrown) => {
        if (isSameLife()) world.violate(`placement does not start: ${String(thrown)}`);
      },
    );
  }

  kill(): void {
    this.#server = undefined;
    this.process.die('is killed');
    this.#network.died(this.process.name, false);
  }
}
