import type { RebuiltContent } from '@robustmq/placement';
import { MemoryMetadataStore } from '../../../packages/testkit/src/memory-metadata-store.ts';
import type { SimNetwork } from '../network/sim-network.ts';
import { copyOf, type SharedStore, sharedStore, SimPlacement } from './sim-placement.ts';

/** The placement servers of a cluster, and the stores that they run from. */
export class PlacementGroup {
  readonly servers: readonly SimPlacement[];
  #store: SharedStore;
  /** One of them alone runs from an old copy. */
  #isOld = false;
  #hasBeenOld = false;
  /** None may run: its store is being made anew. */
  #isHeld = false;

  constructor(count: number, network: SimNetwork) {
    this.#store = sharedStore(count);
    this.servers = Array.from(
      { length: count },
      (_, at) => new SimPlacement(`p${at + 1}`, network),
    );
  }

  get addresses(): string[] {
    return this.servers.map(({ address }) => address);
  }

  get hasRunOldStore(): boolean {
    return this.#hasBeenOld;
  }

  get runsOldStore(): boolean {
    return this.#isOld;
  }

  /** Whether journals refuse all that run, since they know of more than the store has. */
  get isRefused(): boolean {
    return this.servers.some(({ complaint }) => complaint?.includes('old copy') === true);
  }

  /** Starts those that do not run. */
  revive(): void {
    if (this.#isOld || this.#isHeld) return;
    for (const server of this.servers) if (!server.process.isAlive) server.start(this.#store);
  }

  kill(): void {
    for (const server of this.servers) if (server.process.isAlive) server.kill();
  }

  copy(): SharedStore {
    return copyOf(this.#store);
  }

  /** All but one end, and that one goes on from `copy`. */
  runOldStore(copy: SharedStore): void {
    const [first] = this.servers;
    if (first === undefined || this.#isOld || this.#isHeld) return;
    this.kill();
    this.#isOld = true;
    this.#hasBeenOld = true;
    first.process.world.note('placement runs from an old copy of its store');
    first.start(copy);
  }

  endOldStore(): void {
    if (!this.#isOld) return;
    this.#isOld = false;
    this.kill();
    this.revive();
  }

  /** Ends all, for good until there is a new store. */
  hold(): void {
    this.#isHeld = true;
    this.#isOld = false;
    this.kill();
  }

  /** Runs from a store that was made from what journals know. */
  replaceStore({ afterRevision, operations }: RebuiltContent): void {
    const store = new MemoryMetadataStore({ afterRevision });
    store.fill(operations);
    this.#store = sharedStore(this.servers.length, store);
    this.#isHeld = false;
    this.revive();
  }
}
