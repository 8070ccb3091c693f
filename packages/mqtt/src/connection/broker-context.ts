import type { AccessControl } from '@robustmq/auth';
import type { Clock, Logger, Offset, Random, ShardId, TimerWheel } from '@robustmq/core';
import type { ShareGroupClient } from '@robustmq/kernel';

import type { PacketDecoder } from '../codec/packet-decoder.ts';
import type { DeliveryContext } from '../delivery/delivery-context.ts';
import type { ClientSocket } from '../listener/client-socket.ts';
import type { RouteTable } from '../publish/route-table.ts';
import type { TurnTime } from '../publish/turn-time.ts';
import type { MqttCounters } from '../server/mqtt-counters.ts';
import type { MqttLimits } from '../server/mqtt-limits.ts';
import type { SeldomLog } from '../server/seldom-log.ts';
import type { RetainedGateway, SessionGateway } from '../session/session-gateway.ts';
import type { ReplayPace } from '../subscribe/replay-pace.ts';
import type { AutoSubscriptions } from '../rewrite/auto-subscriptions.ts';
import type { TopicRewriter } from '../rewrite/topic-rewriter.ts';
import type { ClientEvents } from '../system/client-events.ts';
import type { SystemTopics } from '../system/system-topics.ts';
import type { Traces } from '../trace/traces.ts';
import type { Connection } from './connection.ts';
import type { OutputTurn } from './output.ts';

/** What all connections of a listener share; all but the limits is the broker's. */
export interface BrokerContext {
  readonly clock: Clock;
  /** For the time stamps of records. */
  readonly turnTime: TurnTime;
  readonly random: Random;
  readonly logger: Logger;
  /** For what may happen with each packet. */
  readonly seldomLog: SeldomLog;
  readonly wheel: TimerWheel;
  readonly limits: MqttLimits;
  readonly counters: MqttCounters;
  readonly decoder: PacketDecoder;
  readonly output: OutputTurn;
  readonly routes: RouteTable;
  readonly delivery: DeliveryContext;
  /** Undefined: everybody may do everything. */
  readonly access: AccessControl | undefined;
  /** What becomes of a publish of an MQTT 3 client that the rules do not allow. */
  readonly refusedPublish: 'acknowledge' | 'close';
  readonly sessions: SessionGateway;
  readonly retained: RetainedGateway;
  readonly shareGroups: Pick<ShareGroupClient, 'member'>;
  readonly system: SystemTopics;
  readonly events: ClientEvents;
  readonly traces: Traces;
  /** Undefined: there are no rules. */
  readonly rewriter: TopicRewriter | undefined;
  readonly autoSubscriptions: AutoSubscriptions;
  readonly replayPace: ReplayPace;
  /** Connections by client id. */
  readonly clients: Map<string, Connection>;
  /** Partitions that can hold what a filter matches. */
  shardsOf(filter: string): ShardId[];
  /** End of a partition as its leader says now. */
  endOffset(shardId: ShardId): Promise<Offset>;
  /** The socket was ended: it is destroyed if the client does not end its side in time. */
  closing(socket: ClientSocket): void;
  closed(connection: Connection): void;
  /** The socket is no more. */
  gone(socket: ClientSocket): void;
  /** A session's end is being told to its coordinator: a broker that stops waits for it. */
  ending(told: Promise<void>): void;
  /** Unique in the cluster. */
  nextConnectionId(): string;
}
