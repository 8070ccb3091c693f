import type { Clock } from '@robustmq/core';

import type { ReasonCode } from '../codec/reason-code.ts';
import type { ConnectedClient } from '../connection/connected-client.ts';
import { TokenBucket } from '../listener/token-bucket.ts';
import type { SessionSubscription } from '../session/session-gateway.ts';
import { reasonWords } from './reason-words.ts';
import type { SystemPublisher } from './system-publisher.ts';
import { levelOf } from './system-topic.ts';

/** Events of clients that the broker can tell. */
export const clientEventKinds = [
  'connected',
  'disconnected',
  'subscribed',
  'unsubscribed',
  'dropped',
] as const;

export type ClientEventKind = (typeof clientEventKinds)[number];

/** Events in a second, of all clients together; as many may come at once. */
const eventsPerSecondMax = 1_000;

/** Who has ended a connection, and why. */
export interface ClientGone {
  readonly by: 'client' | 'broker' | 'network';
  /** Undefined: the connection was just gone. */
  readonly reasonCode: ReasonCode | undefined;
}

/** What is told of a client: as EMQX names it where that has the same. */
type EventBody = Readonly<Record<string, unknown>>;

/** Publishes `$SYS/brokers/NODE/clients/CLIENTID/EVENT` (DESIGN.md, "What the broker tells"). */
export class ClientEvents {
  readonly #publisher: SystemPublisher;
  readonly #nodeId: string;
  readonly #clock: Clock;
  readonly #kinds: ReadonlySet<ClientEventKind>;
  readonly #bucket: TokenBucket;
  /** Events that were one too many in a second. */
  left = 0;

  constructor(
    publisher: SystemPublisher,
    options: { nodeId: string; clock: Clock; kinds: readonly ClientEventKind[] },
  ) {
    this.#publisher = publisher;
    this.#nodeId = options.nodeId;
    this.#clock = options.clock;
    this.#kinds = new Set(options.kinds);
    this.#bucket = new TokenBucket(eventsPerSecondMax, options.clock.monotonicMs());
  }

  /** Whether events of that kind may be wanted: nothing else is to be done for them before. */
  tells(kind: ClientEventKind): boolean {
    return this.#publisher.heard && this.#kinds.has(kind);
  }

  connected(
    client: ConnectedClient,
    how: { readonly cleanStart: boolean; readonly sessionPresent: boolean },
  ): void {
    this.#tell('connected', client.clientId, () => ({
      ...whose(client),
      proto_name: client.version === 3 ? 'MQIsdp' : 'MQTT',
      proto_ver: client.version,
      keepalive: client.keepAliveSeconds,
      clean_start: how.cleanStart,
      session_present: how.sessionPresent,
      expiry_interval: client.sessionExpirySeconds,
      connected_at: client.connectedSinceMs,
    }));
  }

  disconnected(client: ConnectedClient, gone: ClientGone): void {
    this.#tell('disconnected', client.clientId, () => ({
      ...whose(client),
      reason: gone.reasonCode === undefined ? 'connection lost' : reasonWords(gone.reasonCode),
      reason_code: gone.reasonCode ?? null,
      by: gone.by,
      connected_at: client.connectedSinceMs,
      disconnected_at: this.#clock.wallMs(),
    }));
  }

  subscribed(client: ConnectedClient, subscription: SessionSubscription): void {
    this.#tell('subscribed', client.clientId, () => ({
      ...whose(client),
      topic: subscription.filter,
      subopts: {
        qos: subscription.qos,
        nl: subscription.noLocal,
        rap: subscription.retainAsPublished,
        rh: subscription.retainHandling,
        subscription_id: subscription.subscriptionId || null,
      },
    }));
  }

  unsubscribed(client: ConnectedClient, filter: string): void {
    this.#tell('unsubscribed', client.clientId, () => ({ ...whose(client), topic: filter }));
  }

  /** Messages that a client did not get in the last `periodMs`. */
  dropped(clientId: string, reason: string, count: number, periodMs: number): void {
    this.#tell('dropped', clientId, () => ({
      clientid: clientId,
      reason,
      count,
      period_ms: periodMs,
    }));
  }

  #tell(kind: ClientEventKind, clientId: string, body: () => EventBody): void {
    if (!this.tells(kind)) return;
    const topic = `$SYS/brokers/${this.#nodeId}/clients/${levelOf(clientId)}/${kind}`;
    if (!this.#publisher.isWanted(topic)) return;
    if (!this.#bucket.take(this.#clock.monotonicMs())) {
      this.left++;
      return;
    }
    const text = JSON.stringify({ ...body(), node: this.#nodeId, ts: this.#clock.wallMs() });
    this.#publisher.publish(topic, text, false);
  }
}

function whose(client: ConnectedClient): EventBody {
  const { peer } = client;
  return {
    clientid: client.clientId,
    username: client.user,
    ipaddress: peer.address,
    port: peer.port,
    listener: peer.listener,
  };
}
