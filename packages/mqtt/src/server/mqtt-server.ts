import type { AccessControl } from '@robustmq/auth';
import {
  type CancelTimer,
  type Clock,
  type Logger,
  type Offset,
  type Random,
  type ShardId,
  shardId,
  TimerWheel,
  TurnTask,
} from '@robustmq/core';
import type { JournalClient } from '@robustmq/journal-client';
import {
  type CatchUp,
  type FanOut,
  type LogReader,
  type LogWriter,
  type ShareGroupClient,
  TopicNames,
} from '@robustmq/kernel';
import type { Catalog } from '@robustmq/placement-client';
import type { Topic } from '@robustmq/rpc';

import { ClusterRetained } from '../admin/cluster-retained.ts';
import type { RetainedStore } from '../admin/retained-list.ts';
import { PacketDecoder } from '../codec/packet-decoder.ts';
import { ReasonCode } from '../codec/reason-code.ts';
import type { BrokerContext } from '../connection/broker-context.ts';
import type { ConnectedClient } from '../connection/connected-client.ts';
import { Connection } from '../connection/connection.ts';
import { OutputTurn } from '../connection/output.ts';
import { IdleProgress } from '../delivery/idle-progress.ts';
import { LiveReaders } from '../delivery/live-readers.ts';
import type { LiveSession } from '../delivery/live-session.ts';
import { ProgressKeeper } from '../delivery/progress-keeper.ts';
import { Trims } from '../delivery/trims.ts';
import type { ClientSocket } from '../listener/client-socket.ts';
import { Gate } from '../listener/gate.ts';
import type { MqttListenerOptions } from '../listener/listener-options.ts';
import { type Admitted, type ListenerContext, MqttListener } from '../listener/mqtt-listener.ts';
import { RouteTable } from '../publish/route-table.ts';
import { TurnTime } from '../publish/turn-time.ts';
import { type AutoSubscription, AutoSubscriptions } from '../rewrite/auto-subscriptions.ts';
import { type RewriteRule, TopicRewriter } from '../rewrite/topic-rewriter.ts';
import type {
  AnnouncedSession,
  RetainedGateway,
  RevokeReason,
  SessionGateway,
} from '../session/session-gateway.ts';
import { type LaggingClient, SlowClients } from '../slow/slow-clients.ts';
import { TopicMeters } from '../slow/topic-meters.ts';
import { ReplayPace } from '../subscribe/replay-pace.ts';
import { isSystemFilter } from '../system/system-topic.ts';
import { Traces } from '../trace/traces.ts';
import { AccessReview } from './access-review.ts';
import { type MqttCounters, newMqttCounters } from './mqtt-counters.ts';
import { type MqttLimits, mqttLimitsDefault } from './mqtt-limits.ts';
import { type MqttObservation, mqttObservationDefault, Observation } from './observation.ts';
import { SeldomLog } from './seldom-log.ts';

export interface MqttServerOptions {
  /** At least one. */
  readonly listeners: readonly MqttListenerOptions[];
  readonly catalog: Catalog;
  readonly journal: Pick<JournalClient, 'endOffset'>;
  readonly fanOut: FanOut;
  readonly log: LogReader;
  readonly logWriter: LogWriter;
  readonly catchUp: CatchUp;
  readonly sessions: SessionGateway;
  readonly retained: RetainedGateway;
  readonly shareGroups: Pick<ShareGroupClient, 'member'>;
  /** Retained messages that the coordinators of this broker keep. */
  readonly retainedMessages?: () => number;
  /** Broker and incarnation: makes connection ids unique in the cluster. */
  readonly brokerId: string;
  /** Names the broker in the topics of `$SYS`. */
  readonly nodeId: string;
  readonly version: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly limits?: Partial<MqttLimits>;
  /** Undefined: everybody may do everything. */
  readonly access?: AccessControl | undefined;
  /** What becomes of a publish of an MQTT 3 client that the rules do not allow; default: acknowledge. */
  readonly refusedPublish?: 'acknowledge' | 'close' | undefined;
  readonly observation?: Partial<MqttObservation>;
  readonly rewriteRules?: readonly RewriteRule[];
  readonly autoSubscriptions?: readonly AutoSubscription[];
}

/** How often clients that take nothing are looked for. */
const stalledCheckMs = 5_000;
/** Time that a client has to end its side of an ended connection. */
const lingerMs = 2_000;

/** The MQTT listeners of a broker and everything behind them. */
export class MqttServer implements AsyncDisposable {
  readonly counters: MqttCounters = newMqttCounters();
  readonly trims: Trims;
  readonly retained: RetainedStore;
  readonly #options: MqttServerOptions;
  readonly #limits: MqttLimits;
  readonly #gate: Gate;
  readonly #listeners: MqttListener[] = [];
  readonly #readers: LiveReaders;
  readonly #routes: RouteTable;
  readonly #context: BrokerContext;
  readonly #connections = new Set<Connection>();
  readonly #sockets = new Set<ClientSocket>();
  /** Ends of sessions that their coordinators have not confirmed. */
  readonly #endings = new Set<Promise<void>>();
  #connectionIds = 0;
  #connectionNumber = 0;
  #stopped = false;
  readonly #unwatch: () => void;
  readonly #unwatchAccess: (() => void) | undefined;
  readonly #progress: ProgressKeeper;
  readonly #idleProgress: IdleProgress;
  readonly #replayPace: ReplayPace;
  readonly #wheel: TimerWheel;
  readonly #renaming = new TurnTask(() => this.#rename());
  #topicByShard = new Map<number, string>();
  #cancelStalledCheck: CancelTimer = () => {};
  readonly #observation: Observation;
  readonly slowClients: SlowClients;
  readonly topicMeters: TopicMeters;
  /** What operators look at. */
  readonly traces: Traces;

  private constructor(options: MqttServerOptions) {
    this.#options = options;
    this.#limits = { ...mqttLimitsDefault, ...options.limits };
    this.trims = new Trims(options);
    this.retained = new ClusterRetained({
      ...options,
      shardsOf: (filter) => this.#shardsOf(filter),
    });
    const names = this.#readTopics();
    const { slowThresholdMs, topicMetrics } = { ...mqttObservationDefault, ...options.observation };
    this.topicMeters = new TopicMeters(topicMetrics);
    this.slowClients = new SlowClients(options.clock, slowThresholdMs, () => this.#lagging());
    this.#routes = new RouteTable(options.logWriter, names, {
      size: this.#limits.routeCacheMax,
      meters: this.topicMeters,
    });
    this.#readers = new LiveReaders({
      fanOut: options.fanOut,
      names,
      topicOf: (id) => this.#topicByShard.get(id),
      wallMs: () => options.clock.wallMs(),
      counters: this.counters,
      trims: this.trims,
      missed: (id, records) => {
        for (const session of this.sessions()) session.liveTrimmed(id, records);
      },
      logger: options.logger,
      matchCacheMax: this.#limits.matchCacheMax,
      slow: this.slowClients,
      meters: this.topicMeters,
    });
    this.#observation = new Observation({
      ...options,
      readers: this.#readers,
      counters: this.counters,
      clients: () => this.#context.clients.size,
      subscriptions: () => this.subscriptions,
      observation: options.observation ?? {},
    });
    this.traces = new Traces(options.clock, () => {
      for (const connection of this.#connections) connection.retap();
    });
    this.#wheel = new TimerWheel(options.clock);
    const clients = new Map<string, Connection>();
    this.#progress = new ProgressKeeper({
      gateway: options.sessions,
      clock: options.clock,
      delayMs: this.#limits.progressDelayMs,
      logger: options.logger,
      fenced: ({ grant: { clientId, epoch } }) =>
        clients.get(clientId)?.revoke(epoch, ReasonCode.sessionTakenOver),
    });
    this.#idleProgress = new IdleProgress({
      clock: options.clock,
      roundMs: this.#limits.idleProgressMs,
      keeper: this.#progress,
      sessions: () => this.sessions(),
      size: () => this.#connections.size,
    });
    this.#replayPace = new ReplayPace({
      clock: options.clock,
      perSecond: this.#limits.replayRateMax,
      clientPerSecond: this.#limits.clientReplayRateMax,
    });
    this.#context = this.#makeContext(clients);
    this.#gate = new Gate(this.#limits, options.clock.monotonicMs());
    this.#unwatch = options.catalog.onChange((change) => {
      if (change.kind === 'topic' && !isSame(change.before, change.after))
        this.#renaming.schedule();
    });
    const review = new AccessReview(() => this.#connections);
    this.#unwatchAccess = options.access?.onChange(() => review.begin());
    options.sessions.onRevoked((clientId, epoch, reason) => this.#revoked(clientId, epoch, reason));
    options.sessions.announce(() => this.#announced());
  }

  /** Listens. Rejects with ALREADY_EXISTS when a port is taken. */
  static async start(options: MqttServerOptions): Promise<MqttServer> {
    const server = new MqttServer(options);
    try {
      for (const each of options.listeners) await server.#listen(each);
    } catch (thrown) {
      await server[Symbol.asyncDispose]();
      throw thrown;
    }
    server.#checkStalled();
    server.#idleProgress.start();
    return server;
  }

  /** HOST:PORT of the first listener, with the port that was really taken. */
  get address(): string {
    return this.#listeners[0]?.address ?? '';
  }

  /** In the order of the options. */
  get listeners(): readonly MqttListener[] {
    return this.#listeners;
  }

  /** Clients that are connected here, the longest connected first, behind the connection `after`. */
  *clients(after = 0): Generator<ConnectedClient> {
    for (const { number, client } of this.#connections) {
      if (number > after && client !== undefined) yield client;
    }
  }

  /** Ends the connection of a client; whether there was one. Its session is as after any lost connection. */
  kick(clientId: string): boolean {
    const connection = this.#context.clients.get(clientId);
    connection?.close(ReasonCode.administrativeAction);
    return connection !== undefined;
  }

  /** Sessions that are connected here. */
  *sessions(): Generator<LiveSession> {
    for (const connection of this.#connections) {
      if (connection.session !== undefined) yield connection.session;
    }
  }

  *#lagging(): Generator<LaggingClient> {
    for (const { grant, lagging, lagRecords } of this.sessions()) {
      if (lagging) yield { clientId: grant.clientId, lagRecords };
    }
  }

  /** Events of clients that were too many in a second. */
  get eventsDropped(): number {
    return this.#observation.events.left;
  }

  get subscriptions(): number {
    let shared = 0;
    for (const session of this.sessions()) shared += session.shared?.size ?? 0;
    return this.#readers.trie.size + this.#readers.systemTrie.size + shared;
  }

  /** Stops accepting, tells the clients to go (0x8B), and waits until their sessions are stored. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#unwatch();
    this.#unwatchAccess?.();
    const closed = Promise.all(this.#listeners.map((listener) => listener.close()));
    // Closing removes a connection from the set, which a set allows while it is walked.
    for (const connection of this.#connections) {
      connection.close(ReasonCode.serverShuttingDown);
    }
    this.#cancelStalledCheck();
    this.#observation[Symbol.dispose]();
    this.#idleProgress.close();
    this.#replayPace[Symbol.dispose]();
    this.#progress.close();
    this.#wheel.clear();
    await Promise.all(this.#endings);
    const cancelLinger = this.#options.clock.setTimer(lingerMs, () => {
      for (const socket of this.#sockets) socket.destroy();
    });
    await closed;
    cancelLinger();
  }

  #makeContext(clients: Map<string, Connection>): BrokerContext {
    const options = this.#options;
    const limits = this.#limits;
    const output = new OutputTurn(this.counters);
    const { system, events, drops } = this.#observation;
    const { rewriteRules = [], autoSubscriptions = [] } = options;
    return {
      clock: options.clock,
      turnTime: new TurnTime(options.clock),
      random: options.random,
      logger: options.logger,
      seldomLog: new SeldomLog(options),
      wheel: this.#wheel,
      limits,
      counters: this.counters,
      decoder: new PacketDecoder(),
      output,
      routes: this.#routes,
      delivery: {
        readers: this.#readers,
        catchUp: options.catchUp,
        log: options.log,
        progress: this.#progress,
        drops,
        limits,
        clock: options.clock,
        writer: output.writer,
      },
      access: options.access,
      refusedPublish: options.refusedPublish ?? 'acknowledge',
      sessions: options.sessions,
      retained: options.retained,
      shareGroups: options.shareGroups,
      system,
      events,
      traces: this.traces,
      rewriter:
        rewriteRules.length > 0 ? new TopicRewriter(rewriteRules, limits.routeCacheMax) : undefined,
      autoSubscriptions: new AutoSubscriptions(autoSubscriptions),
      replayPace: this.#replayPace,
      clients,
      shardsOf: (filter) => this.#shardsOf(filter),
      endOffset: (id): Promise<Offset> => options.journal.endOffset(id),
      closing: (socket) => this.#linger(socket),
      closed: (connection) => this.#closed(connection),
      gone: (socket) => this.#sockets.delete(socket),
      ending: (told) => {
        this.#endings.add(told);
        void told.finally(() => this.#endings.delete(told));
      },
      nextConnectionId: () => `${options.brokerId}-${++this.#connectionIds}`,
    };
  }

  // ---- connections

  async #listen(options: MqttListenerOptions): Promise<void> {
    const limits: MqttLimits = { ...this.#limits, ...options.limits };
    const context: BrokerContext = { ...this.#context, limits };
    const { clock, logger, wheel, decoder, output } = context;
    const own: ListenerContext = {
      clock,
      logger,
      wheel,
      decoder,
      writer: output.writer,
      limits,
      packetBytesBeforeAuthMax: limits.packetBytesBeforeAuthMax,
      gate: this.#gate,
      connected: (socket, admitted) => this.#connected(socket, admitted, context),
    };
    this.#listeners.push(await MqttListener.open(options, own));
  }

  #connected(socket: ClientSocket, admitted: Admitted, context: BrokerContext): void {
    if (this.#stopped) {
      admitted.place.leave();
      socket.destroy();
      return;
    }
    const number = ++this.#connectionNumber;
    this.#sockets.add(socket);
    this.#connections.add(new Connection(socket, context, { admitted, number }));
    this.counters.connections = this.#connections.size;
  }

  #closed(connection: Connection): void {
    this.#connections.delete(connection);
    connection.admitted.place.leave();
    this.counters.connections = this.#connections.size;
  }

  #linger(socket: ClientSocket): void {
    if (socket.destroyed) return;
    socket.resume();
    const cancel = this.#options.clock.setTimer(lingerMs, () => socket.destroy());
    socket.once('close', cancel);
  }

  #checkStalled(): void {
    const { clock } = this.#options;
    this.#cancelStalledCheck = clock.setTimer(stalledCheckMs, () => {
      const now = clock.monotonicMs();
      for (const connection of this.#connections) connection.checkStalled(now);
      this.#checkStalled();
    });
  }

  #revoked(clientId: string, epoch: number, reason: RevokeReason): void {
    const reasonCode =
      reason === 'taken-over' ? ReasonCode.sessionTakenOver : ReasonCode.administrativeAction;
    this.#context.clients.get(clientId)?.revoke(epoch, reasonCode);
  }

  *#announced(): Generator<AnnouncedSession> {
    for (const { announced } of this.#connections) if (announced !== undefined) yield announced;
  }

  // ---- topics

  #shardsOf(filter: string): ShardId[] {
    if (isSystemFilter(filter)) return [];
    const { catalog } = this.#options;
    return this.#routes.names.sources(filter).flatMap(({ topic, partitions }) => {
      const shardIds = (catalog.topic(topic)?.shardIds ?? []).map((id) => shardId(id));
      return partitions === 'all'
        ? shardIds
        : shardIds.filter((_, index) => partitions.includes(index));
    });
  }

  #readTopics(): TopicNames {
    const { catalog } = this.#options;
    this.#topicByShard = new Map();
    for (const { name, shardIds } of catalog.topics()) {
      for (const id of shardIds) this.#topicByShard.set(id, name);
    }
    return TopicNames.of(catalog.topics());
  }

  /** New topics and partitions may hold names that are subscribed to. */
  #rename(): void {
    const names = this.#readTopics();
    this.#routes.rename(names);
    this.#readers.rename(names);
    for (const session of this.sessions()) {
      for (const subscription of session.subscriptions.values()) {
        session.setShards(subscription, this.#shardsOf(subscription.stored.filter));
      }
      // Messages may have come of topics that this catalog did not show.
      session.shared?.roomMade();
    }
  }
}

/** Whether a topic's names and partitions are what they were. Internal topics have no names. */
function isSame(before: Topic | undefined, after: Topic | undefined): boolean {
  if ((before ?? after)?.name.startsWith('$') === true) return true;
  if (before === undefined || after === undefined) return false;
  return (
    before.config['mqtt.prefix'] === after.config['mqtt.prefix'] &&
    before.shardIds.length === after.shardIds.length &&
    before.shardIds.every((id, index) => id === after.shardIds[index])
  );
}
