import type { AccessControl } from '@robustmq/auth';
import {
  type Clock,
  type Logger,
  type Offset,
  seededRandom,
  type ShardId,
  silentLogger,
  systemClock,
} from '@robustmq/core';
import {
  CatchUpReads,
  DirectFanOut,
  type LogReader,
  PartitionWriter,
  partitionOf,
  RecordReader,
  type ShareStrategy,
  sharedTopic,
  TopicNames,
} from '@robustmq/kernel';
import { HeaderBlock } from '@robustmq/record-batch';
import {
  type ConnectFields,
  type JournalFixture,
  RawMqttClient,
  settled,
  startJournalFixture,
} from '@robustmq/testkit';

import type { MqttListenerOptions } from '../listener/listener-options.ts';
import type { AutoSubscription } from '../rewrite/auto-subscriptions.ts';
import type { RewriteRule } from '../rewrite/topic-rewriter.ts';
import type { StoredMessage, WillToStore } from '../session/session-gateway.ts';
import { ShareBrokers } from '../share/share-brokers.fixture.ts';
import { FoldingRetained } from './folding-retained.fixture.ts';
import { MemorySessions } from './memory-sessions.fixture.ts';
import type { MqttLimits } from './mqtt-limits.ts';
import type { MqttObservation } from './observation.ts';
import { MqttServer } from './mqtt-server.ts';

export interface MqttRigOptions {
  readonly limits?: Partial<MqttLimits>;
  /** One over TCP when absent. */
  readonly listeners?: readonly MqttListenerOptions[];
  /** Of the servers; the journals have their own. */
  readonly clock?: Clock;
  readonly logger?: Logger;
  readonly observation?: Partial<MqttObservation>;
  readonly rewriteRules?: readonly RewriteRule[];
  readonly autoSubscriptions?: readonly AutoSubscription[];
  /** Wraps the log of the servers, to hold or fail its reads. */
  readonly log?: (log: LogReader) => LogReader;
  readonly access?: AccessControl;
  readonly refusedPublish?: 'acknowledge' | 'close';
  readonly strategy?: ShareStrategy;
  /** Time in which a member of a share group has to acknowledge. */
  readonly acquisitionMs?: number;
}

const partitions = 4;

/** One over TCP, on a free port of loopback. */
export const plainListener: MqttListenerOptions = {
  name: 'mqtt',
  kind: 'mqtt',
  listen: '127.0.0.1:0',
};

/**
 * MQTT servers on real sockets over the real journal client and kernel, with a fake journal tier and
 * the session coordinators in memory.
 */
export class MqttRig implements AsyncDisposable {
  readonly journal: JournalFixture;
  readonly sessions: MemorySessions;
  readonly retained: FoldingRetained;
  readonly shares: ShareBrokers;
  readonly shardIds: readonly ShardId[];
  /** Called before a server asks where a partition ends; it may throw, or return a promise to hold it. */
  beforeEnd: () => Promise<void> | void = () => {};
  readonly #options: MqttRigOptions;
  readonly #log: LogReader;
  readonly #servers: { readonly server: MqttServer; readonly fanOut: DirectFanOut }[] = [];
  readonly #clients: RawMqttClient[] = [];

  private constructor(
    journal: JournalFixture,
    shardIds: readonly ShardId[],
    options: MqttRigOptions,
  ) {
    this.journal = journal;
    this.shardIds = shardIds;
    this.#options = options;
    const reader = new RecordReader({ journal: journal.client, logger: silentLogger() });
    this.#log = options.log?.(reader) ?? reader;
    this.retained = new FoldingRetained(reader, () =>
      TopicNames.of(journal.placement.catalog.topics()),
    );
    this.sessions = new MemorySessions((message) => this.#publishStored(message));
    const { strategy, acquisitionMs, clock = systemClock() } = options;
    this.shares = new ShareBrokers(journal, {
      clock,
      ...(strategy && { strategy }),
      ...(acquisitionMs !== undefined && { acquisitionMs }),
    });
  }

  static async start(options: MqttRigOptions = {}): Promise<MqttRig> {
    const journal = await startJournalFixture();
    const shardIds = journal.fake.createTopic(sharedTopic, partitions);
    await journal.placement.catalog.waitFor((catalog) => catalog.topic(sharedTopic));
    const rig = new MqttRig(journal, shardIds, options);
    await rig.startServer();
    return rig;
  }

  /** The first server. */
  get server(): MqttServer {
    const [first] = this.#servers;
    if (first === undefined) throw new Error('the rig has no server');
    return first.server;
  }

  /** HOST:PORT of a listener of the first server. */
  addressOf(name: string): string {
    const found = this.server.listeners.find((listener) => listener.name === name);
    if (found === undefined) throw new Error(`the server has no listener ${name}`);
    return found.address;
  }

  async startServer(): Promise<MqttServer> {
    const { client, placement } = this.journal;
    const { catalog } = placement;
    const clock = this.#options.clock ?? systemClock();
    const logger = this.#options.logger ?? silentLogger();
    const fanOut = new DirectFanOut({ journal: client, clock: systemClock(), logger });
    const brokerId = `broker-${this.#servers.length + 1}`;
    const { client: shareGroups } = await this.shares.broker(brokerId, fanOut);
    const server = await MqttServer.start({
      listeners: this.#options.listeners ?? [plainListener],
      catalog,
      journal: { endOffset: (shardId) => this.#endOffset(shardId) },
      fanOut,
      log: this.#log,
      logWriter: new PartitionWriter({ catalog, journal: client }),
      catchUp: new CatchUpReads({ reader: this.#log }),
      sessions: this.sessions.gateway(brokerId),
      retained: this.retained,
      shareGroups,
      brokerId,
      nodeId: brokerId,
      version: '0.1.0',
      clock,
      random: seededRandom(3),
      logger,
      access: this.#options.access,
      refusedPublish: this.#options.refusedPublish,
      ...(this.#options.limits && { limits: this.#options.limits }),
      observation: { sysIntervalMs: 0, ...this.#options.observation },
      rewriteRules: this.#options.rewriteRules ?? [],
      autoSubscriptions: this.#options.autoSubscriptions ?? [],
    });
    this.#servers.push({ server, fanOut });
    return server;
  }

  /** Opens a connection that the rig ends in the end. */
  async open(version: 3 | 4 | 5 = 5, server: MqttServer = this.server): Promise<RawMqttClient> {
    return this.#own(await RawMqttClient.open(server.address, version));
  }

  /** Connects a client, which has to be accepted. */
  async connect(
    fields: ConnectFields = {},
    server: MqttServer = this.server,
  ): Promise<RawMqttClient> {
    const { client, connack } = await RawMqttClient.connect(server.address, fields);
    const code = connack.reasonCode ?? connack.returnCode;
    if (code !== 0) throw new Error(`CONNACK ${code}`);
    return this.#own(client);
  }

  /** The partition of a name without an owner. */
  shardOf(name: string): ShardId {
    const shardId = this.shardIds[partitionOf(name, partitions)];
    if (shardId === undefined) throw new Error(`no partition for ${name}`);
    return shardId;
  }

  /** Publishes a will as the coordinator's outbox does. */
  publishWill(will: WillToStore): Promise<void> {
    return this.#publishStored(will);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) await client.destroy();
    for (const { server } of this.#servers) await server[Symbol.asyncDispose]();
    await this.shares[Symbol.asyncDispose]();
    for (const { fanOut } of this.#servers) {
      await fanOut[Symbol.asyncDispose]();
    }
    await this.journal[Symbol.asyncDispose]();
  }

  async #endOffset(shardId: ShardId): Promise<Offset> {
    await this.beforeEnd();
    return this.journal.client.endOffset(shardId);
  }

  #own(client: RawMqttClient): RawMqttClient {
    this.#clients.push(client);
    return client;
  }

  async #publishStored({ topic, value, headers }: StoredMessage): Promise<void> {
    const block = new HeaderBlock();
    block.addAll(headers);
    const appender = this.journal.client.appender(this.shardOf(topic));
    const key = Buffer.from(topic);
    const filterTokens = new Uint32Array(0);
    const record = { timestampMs: 0, key, value, headers: block, filterTokens };
    const { error } = await settled(appender.append(record, 'quorum'));
    if (error !== undefined) throw error;
  }
}
