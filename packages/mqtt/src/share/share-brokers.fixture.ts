import { type Clock, seededRandom, type ShardId, silentLogger } from '@robustmq/core';
import {
  BrokerPeer,
  CoordinatorClient,
  CoordinatorHost,
  createShareGroupKind,
  type DirectFanOut,
  endShareMember,
  newShareGroupCounts,
  ShareGroupClient,
  shareGroupKind,
  type ShareStrategy,
} from '@robustmq/kernel';
import type { CatalogEntry, RpcServer } from '@robustmq/rpc';
import { NodeState } from '@robustmq/rpc';
import { brokerNode, type JournalFixture } from '@robustmq/testkit';

import { createMqttShares, mqttShares } from './mqtt-share-protocol.ts';

export interface ShareBrokersOptions {
  readonly clock: Clock;
  readonly strategy?: ShareStrategy;
  readonly acquisitionMs?: number;
}

/** A broker's part of the share groups. */
export class ShareBroker {
  readonly nodeId: string;
  readonly host: CoordinatorHost;
  readonly calls: CoordinatorClient;
  readonly client: ShareGroupClient;
  readonly #peer: BrokerPeer;
  #server: RpcServer | undefined;

  constructor(
    nodeId: string,
    journal: JournalFixture,
    options: ShareBrokersOptions,
    fanOut: DirectFanOut,
  ) {
    this.nodeId = nodeId;
    const { client, placement, transport } = journal;
    const { catalog } = placement;
    const { clock, strategy, acquisitionMs } = options;
    const logger = silentLogger();
    const self = { nodeId, incarnation: 1 };
    this.host = new CoordinatorHost({ self, catalog, journal: client, placement, clock, logger });
    const shares = createMqttShares({
      catalog,
      ...(strategy && { strategy }),
      ...(acquisitionMs !== undefined && { acquisitionMs }),
    });
    this.host.register(
      createShareGroupKind({
        protocols: { [mqttShares]: shares },
        catalog,
        fanOut,
        endOffset: (shardId: ShardId) => client.endOffset(shardId),
        placement,
        counts: newShareGroupCounts(),
        random: seededRandom(7),
      }),
    );
    this.host.start();
    this.#peer = new BrokerPeer(this.host);
    this.calls = new CoordinatorClient({
      catalog,
      host: this.host,
      peer: this.#peer,
      transport,
      clock,
    });
    this.client = new ShareGroupClient({ calls: this.calls, clock, logger });
  }

  async listen(journal: JournalFixture): Promise<void> {
    this.#server = await journal.transport.listen('127.0.0.1:0', (registry) =>
      this.#peer.register(registry),
    );
  }

  entry(state: NodeState): CatalogEntry {
    return brokerNode(this.nodeId, { address: this.#server?.address ?? '', state });
  }

  /** Nobody reaches it any more, and it tells nobody that it goes. */
  async kill(): Promise<void> {
    this.client[Symbol.dispose]();
    await this.#server?.[Symbol.asyncDispose]();
    this.#server = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client[Symbol.dispose]();
    await this.calls[Symbol.asyncDispose]();
    await this.host[Symbol.asyncDispose]();
    await this.kill();
  }
}

/** The share groups of some brokers, with the one coordinator that they have. */
export class ShareBrokers implements AsyncDisposable {
  readonly #journal: JournalFixture;
  readonly #options: ShareBrokersOptions;
  readonly #brokers: ShareBroker[] = [];
  readonly #shardId: ShardId;
  #epoch = 0;

  constructor(journal: JournalFixture, options: ShareBrokersOptions) {
    this.#journal = journal;
    this.#options = options;
    const [shardId] = journal.fake.createTopic(`$${shareGroupKind}`, 1);
    if (shardId === undefined) throw new Error('the coordinator has one shard');
    this.#shardId = shardId;
  }

  /** A broker that all others know of; the first one runs the coordinator. */
  async broker(nodeId: string, fanOut: DirectFanOut): Promise<ShareBroker> {
    const broker = new ShareBroker(nodeId, this.#journal, this.#options, fanOut);
    await broker.listen(this.#journal);
    this.#brokers.push(broker);
    this.#journal.fake.watchers.tell([broker.entry(NodeState.UP)]);
    const { catalog } = this.#journal.placement;
    await catalog.waitFor((one) => one.node(nodeId) && one.topic(`$${shareGroupKind}`));
    if (this.#brokers.length === 1) this.assign(nodeId);
    return broker;
  }

  /** Makes a broker the coordinator's owner with a new epoch. */
  assign(nodeId: string): void {
    this.#journal.fake.setCoordinator({
      kind: shareGroupKind,
      index: 0,
      shardId: this.#shardId,
      ownerNodeId: nodeId,
      ownerIncarnation: 1,
      epoch: ++this.#epoch,
    });
  }

  /** The broker ends as one that was killed, and everybody hears of it. */
  async kill(nodeId: string): Promise<void> {
    const broker = this.#of(nodeId);
    await broker.kill();
    this.#journal.fake.watchers.tell([broker.entry(NodeState.DOWN)]);
  }

  /** A session is no more. */
  endMember(member: { groupId: string; key: string; epoch: number }): Promise<void> {
    const [first] = this.#brokers;
    return first === undefined ? Promise.resolve() : endShareMember(first.calls, member);
  }

  #of(nodeId: string): ShareBroker {
    const broker = this.#brokers.find((one) => one.nodeId === nodeId);
    if (broker === undefined) throw new Error(`there is no ${nodeId}`);
    return broker;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const broker of this.#brokers) await broker[Symbol.asyncDispose]();
  }
}
