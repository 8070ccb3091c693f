import { type MetadataStore, type PlacementServer, startPlacement } from '@robustmq/placement';
import { Registry } from 'prom-client';
import { MemoryMetadataStore } from '../../../packages/testkit/src/memory-metadata-store.ts';
import type { SimNetwork } from '../network/sim-network.ts';
import { SimProcess } from '../world/sim-process.ts';
import { LeaderSeat } from '../world/leader-seat.ts';
import { SimStore } from '../world/sim-store.ts';
import { worldLogger } from '../world/world-logger.ts';

const leaseMs = 3_000;
const lostAnswers = 0.005;

/** What the placement servers of a cluster share: it outlives them. */
export interface SharedStore {
  readonly store: MetadataStore;
  readonly seat: LeaderSeat;
}

export function sharedStore(servers: number): SharedStore {
  const isShared = servers > 1;
  const seat = new LeaderSeat(isShared ? leaseMs : 0, isShared ? lostAnswers : 0);
  return { store: new MemoryMetadataStore(), seat };
}

/** A placement server, as it is shipped, on a machine of the world. */
export class SimPlacement {
  readonly process: SimProcess;
  readonly address: string;
  readonly #network: SimNetwork;
  readonly #shared: SharedStore;

  constructor(name: string, network: SimNetwork, shared: SharedStore) {
    this.process = new SimProcess(name, network.world);
    this.address = `${name}:1`;
    this.#network = network;
    this.#shared = shared;
  }

  start(): void {
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
      store: new SimStore(this.#shared.store, process, this.#shared.seat),
      config: { defaultTopics: [], retentionEachMs: 2_000, downGraceMs: 5_000 },
    });
    started.catch((thrown: unknown) => {
      const isSameLife = process.isAlive && process.life === life;
      if (isSameLife) world.violate(`placement does not start: ${String(thrown)}`);
    });
  }

  kill(): void {
    this.process.die('is killed');
    this.#network.died(this.process.name, false);
  }
}
