import { toOperatingError } from '@robustmq/core';
import { rebuildPlacement } from '@robustmq/placement';
import { PlacementClient } from '@robustmq/placement-client';
import { placementAdminMethods, type SealShardResponse, type UnsafeSeal } from '@robustmq/rpc';
import type { SimNetwork } from '../network/sim-network.ts';
import { SimProcess } from '../world/sim-process.ts';
import { whenSettled } from '../world/when-settled.ts';
import type { PlacementGroup } from './placement-group.ts';

const againMs = 500;
/** What placement says of a segment that is lost whole. */
const noneIntact = ' 0 intact replicas answered';

/** Whoever gives orders to the cluster, from a machine of his own. */
export class Operator {
  readonly #process: SimProcess;
  readonly #network: SimNetwork;
  readonly #placement: PlacementGroup;
  #client: PlacementClient | undefined;
  /** The last order to drain each journal, until it is taken back. */
  readonly #draining = new Map<string, Promise<unknown>>();
  readonly #removed = new Set<string>();

  constructor(network: SimNetwork, placement: PlacementGroup) {
    this.#process = new SimProcess('operator', network.world);
    this.#network = network;
    this.#placement = placement;
  }

  start(): void {
    this.#process.begin();
    const { clock } = this.#process;
    this.#client = new PlacementClient({
      placement: this.#placement.addresses,
      transport: this.#network.transportOf(this.#process),
      clock,
      random: this.#process.newRandom(),
      nodeId: 'operator',
    });
    this.#client.start();
  }

  /** Makes a topic, however often that has to be tried; tells its shards. */
  createTopic(
    name: string,
    partitions: number,
    config: Record<string, string>,
    done: (shardIds: readonly number[]) => void,
  ): void {
    const attempt = async (): Promise<readonly number[]> => {
      const [made] = await this.client.createTopics([{ name, partitions, config }]);
      const known =
        made instanceof Error ? (await this.client.describeCluster(name)).topics[0] : made;
      if (known === undefined) throw made ?? new Error('no topic');
      return known.shardIds;
    };
    whenSettled(attempt(), done, () => {
      this.#process.schedule(againMs, 'timer', () =>
        this.createTopic(name, partitions, config, done),
      );
    });
  }

  trim(shardId: number, offset: number): void {
    this.#process.world.note(`trim shard ${shardId} to ${offset}`);
    this.#once('trim', this.client.trimShards([{ shardId, offset }]));
  }

  /** Ends what is open of a shard, if the placement server that is asked decides. */
  seal(shardId: number): void {
    const transport = this.#network.transportOf(this.#process);
    for (const address of this.#placement.addresses) {
      const request = { shardId, unsafe: undefined };
      const client = transport.connect(address, 'control');
      this.#once('seal', client.call(placementAdminMethods.sealShard, request));
    }
  }

  /** Seals at its first offset what nobody has an intact replica of any more, if placement says so. */
  giveUp(shardId: number): void {
    const { world } = this.#process;
    const transport = this.#network.transportOf(this.#process);
    for (const address of this.#placement.addresses) {
      const client = transport.connect(address, 'control');
      const order = (unsafe: UnsafeSeal | undefined): Promise<SealShardResponse> =>
        client.call(placementAdminMethods.sealShard, { shardId, unsafe });
      const attempt = async (): Promise<void> => {
        const { status, shard } = await order(undefined);
        const segment = shard?.segments.at(-1);
        if (segment === undefined || status?.message.includes(noneIntact) !== true) return;
        const { baseOffset } = segment;
        const { status: refused } = await order({
          endOffsetMin: baseOffset,
          orderedBy: 'operator',
        });
        world.note(
          `segment at ${baseOffset} of shard ${shardId} is given up: ${refused?.message ?? 'done'}`,
        );
      };
      this.#once('giving up', attempt());
    }
  }

  drain(journal: string): void {
    const drained = this.client.drainNode(journal);
    this.#draining.set(journal, drained);
    this.#once('drain', drained);
  }

  /** Tried until placement has heard of it, behind the order that it takes back. */
  undrain(journal: string): void {
    const drained = this.#draining.get(journal);
    this.#draining.delete(journal);
    if (drained !== undefined) {
      const goOn = (): void => this.undrain(journal);
      whenSettled(drained, goOn, goOn);
      return;
    }
    const again = (thrown: unknown): void => {
      const { code } = toOperatingError(thrown);
      this.#process.world.note(`undrain fails: ${code}`);
      if (code === 'NOT_FOUND') return;
      this.#process.schedule(againMs, 'timer', () => this.undrain(journal));
    };
    whenSettled(this.client.drainNode(journal, true), () => {}, again);
  }

  /** Asks until `untilMs` whether a journal may go. */
  remove(journal: string, untilMs: number, over: (isRemoved: boolean) => void): void {
    const { world } = this.#process;
    const again = (thrown: unknown): void => {
      world.note(`${journal} stays: ${toOperatingError(thrown).code}`);
      if (world.nowMs > untilMs) over(false);
      else {
        this.#process.schedule(againMs, 'timer', () => this.remove(journal, untilMs, over));
      }
    };
    const done = (): void => {
      this.#removed.add(journal);
      over(true);
    };
    whenSettled(this.client.removeNode(journal), done, again);
  }

  /**
   * Makes placement's store anew from what these journals have, once all of them answer; those that were
   * removed, as a part of the journals remembers, are told to be missing. The list is asked for at each try:
   * one that was just removed is still on the first.
   */
  rebuild(journals: () => readonly string[], allowMissing: readonly string[] = []): void {
    const { world } = this.#process;
    world.note('placement is rebuilt');
    this.#placement.hold();
    const rebuilt = rebuildPlacement({
      target: {
        check: () => {},
        // oxlint-disable-next-line typescript/require-await -- an interface for stores on disks
        write: async (content) => {
          this.#placement.replaceStore(content);
          return undefined;
        },
      },
      journals: journals(),
      allowMissing,
      acceptLoss: allowMissing.length > 0,
      orderedBy: 'operator',
      transport: this.#network.transportOf(this.#process),
      clock: this.#process.clock,
      onPlan: () => {},
    });
    whenSettled(
      rebuilt,
      ({ placementEpoch }) => world.note(`placement is rebuilt with epoch ${placementEpoch}`),
      (thrown) => {
        const { code, message } = toOperatingError(thrown);
        world.note(`placement cannot be rebuilt: ${code} ${message}`);
        const missing = [...this.#removed].filter((name) => message.includes(`missing ${name} `));
        const allowed = [...new Set([...allowMissing, ...missing])];
        this.#process.schedule(againMs, 'timer', () => this.rebuild(journals, allowed));
      },
    );
  }

  get client(): PlacementClient {
    if (this.#client === undefined) throw new Error('the operator has started');
    return this.#client;
  }

  #once(what: string, done: Promise<unknown>): void {
    const report = (thrown: unknown): void =>
      this.#process.world.note(`${what} fails: ${toOperatingError(thrown).code}`);
    whenSettled(done, () => {}, report);
  }
}
