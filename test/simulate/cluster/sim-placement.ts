import { type PlacementServer, startPlacement } from '@robustmq/placement';
import { Registry } from 'prom-client';
import { MemoryMetadataStore } from '../../../packages/testkit/src/memory-metadata-store.ts';
import type { SimNetwork } from '../network/sim-network.ts';
import { SimProcess } from '../world/sim-process.ts';
import { type LeaderSeat, SimStore } from '../world/sim-store.ts';
import { worldLogger } from '../world/world-logger.ts';

/** Placement: the shipped server on a machine of the world. Its store outlives it. */
export class SimPlacement {
  readonly process: SimProcess;
  readonly address: string;
  readonly #network: SimNetwork;
  readonly #store = new MemoryMetadataStore();
  readonly #seat: LeaderSeat = { holder: undefined };

  constructor(name: string, network: SimNetwork) {
    this.process = new SimProcess(name, network.world);
    this.address = `${name}:1`;
    this.#network = network;
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
      store: new SimStore(this.#store, process, this.#seat),
      config: { defaultTopics: [], retentionEachMs: 2_000 },
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
