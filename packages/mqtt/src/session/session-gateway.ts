import type { Offset, ShardId } from '@robustmq/core';

/** A subscription as the session keeps it. */
export interface SessionSubscription {
  readonly filter: string;
  readonly qos: 0 | 1 | 2;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: 0 | 1 | 2;
  /** 0 when there is none. */
  readonly subscriptionId: number;
  /** Where it begins, per partition; a partition that is not listed was made later and begins at 0. */
  readonly startOffsets: readonly ShardPosition[];
}

export interface ShardPosition {
  readonly shardId: ShardId;
  readonly offset: Offset;
}

/** A message that was sent at QoS > 0 and is not finished. */
export interface WindowEntry {
  readonly packetId: number;
  readonly shardId: ShardId;
  readonly offset: Offset;
  readonly qos: 1 | 2;
  /** `released`: PUBREC came (QoS 2); what is owed is PUBREL. */
  readonly state: 'sent' | 'released';
}

/** A message as bytes of a record: what is stored for wills and inbound QoS 2. */
export interface StoredMessage {
  /** MQTT topic name. */
  readonly topic: string;
  /** Null value: an empty retained publish. */
  readonly value: Buffer | null;
  /** Headers of the record, the user's first, then the reserved ones. */
  readonly headers: readonly StoredHeader[];
}

export interface StoredHeader {
  readonly name: Buffer;
  readonly value: Buffer | null;
}

export interface WillToStore extends StoredMessage {
  readonly delaySeconds: number;
}

export interface ConnectSession {
  readonly clientId: string;
  /** Unique per connection in the cluster: a repeated CONNECT is recognised by it. */
  readonly connectionId: string;
  readonly cleanStart: boolean;
  /** Seconds; 0: ends with the connection; 0xFFFFFFFF: never. */
  readonly expirySeconds: number;
  readonly will: WillToStore | undefined;
}

export interface SessionGranted {
  readonly epoch: number;
  readonly present: boolean;
  readonly subscriptions: readonly SessionSubscription[];
  readonly positions: readonly ShardPosition[];
  readonly trimmed: TrimmedRecords | undefined;
  /** In the order in which they were sent. */
  readonly window: readonly WindowEntry[];
  /** Packet ids of inbound QoS 2 publishes that are stored and not released. */
  readonly inboundPacketIds: readonly number[];
  /** Replays that an earlier connection has not finished. */
  readonly replays: readonly OwedReplay[];
}

/** What a broker tells of a session's progress. Absolute, so that repeating it does no harm. */
export interface SessionProgress {
  /** How far it is on its partitions. */
  readonly positions: readonly ShardPosition[];
  /** The whole window, in the order of sending. */
  readonly window: readonly WindowEntry[];
  /** The positions are all that the session has: others are forgotten. */
  readonly complete: boolean;
  readonly trimmed: TrimmedRecords | undefined;
  /** Replays that it still owes; all of them when `complete`. */
  readonly replays: readonly OwedReplay[];
}

/** Retained messages that a subscription still gets. */
export interface OwedReplay {
  readonly filter: string;
  /** Undefined: all of them. */
  readonly from: RetainedPlace | undefined;
}

/** What retention took before a session had read it. */
export interface TrimmedRecords {
  /** Since the session was made; those that it did not want are among them. */
  readonly records: number;
  /** Topic of the last of them. */
  readonly topic: string;
  /** When that was noticed, in ms since 1970. */
  readonly atMs: number;
}

/** The grant of one connected session: every call carries its epoch. */
export interface SessionGrant {
  readonly clientId: string;
  readonly epoch: number;
}

/**
 * This broker's door to the session coordinators. Calls reject with FENCED when the session was
 * taken over, with UNAVAILABLE when no coordinator could be reached in time; they are retried
 * inside and safe to repeat. Calls of one session are carried out in order.
 */
export interface SessionGateway {
  /**
   * A CONNECT that rejects leaves no session behind that was not there before, and no connection, at the
   * latest when its coordinator is back. One of the same client id that is under way is given up.
   */
  connect(request: ConnectSession): Promise<SessionGranted>;
  /**
   * Committed when it resolves (durable sessions only: others keep subscriptions at the broker).
   * `replays`: filters of those that get the retained messages, from the beginning.
   */
  subscribe(
    grant: SessionGrant,
    subscriptions: readonly SessionSubscription[],
    replays?: readonly string[],
  ): Promise<void>;
  unsubscribe(grant: SessionGrant, filters: readonly string[]): Promise<void>;
  progress(grant: SessionGrant, progress: SessionProgress): Promise<void>;
  /** Stores a QoS 2 publish; resolves after the commit. A packet id that is stored already is left as it is. */
  storeInbound(grant: SessionGrant, packetId: number, message: StoredMessage): Promise<void>;
  /** Publishes the stored message exactly once; resolves after its commit. False: unknown packet id. */
  releaseInbound(grant: SessionGrant, packetId: number): Promise<boolean>;
  /**
   * Ends the connection. `publishWill`: the will (if any) is due after its delay, or it is discarded.
   * `expirySeconds` replaces the session's expiry when given (MQTT 5 DISCONNECT).
   */
  disconnect(
    grant: SessionGrant,
    end: {
      publishWill: boolean;
      expirySeconds: number | undefined;
      progress: SessionProgress | undefined;
    },
  ): Promise<void>;
  /** Called when a session of this broker was taken over or ended: close it with that reason. */
  onRevoked(listener: (clientId: string, epoch: number, reason: RevokeReason) => void): void;
  /** Asked for the transient sessions of this broker after a coordinator has moved. */
  announce(listener: () => Iterable<AnnouncedSession>): void;
}

export type RevokeReason = 'taken-over' | 'administrative';

export interface AnnouncedSession {
  readonly clientId: string;
  readonly connectionId: string;
  readonly epoch: number;
}

/** A retained message as a lookup gives it. */
export interface RetainedMessage {
  readonly topic: string;
  readonly shardId: ShardId;
  readonly offset: Offset;
  readonly appendTimeMs: number;
  readonly value: Buffer;
  readonly headers: readonly StoredHeader[];
}

/** Where a list of retained messages goes on; what it names may be gone by then. */
export interface RetainedPlace {
  /** Coordinators before it are done. */
  readonly coordinator: number;
  /** Its shards before it are done. */
  readonly shardId: number;
  /** Names of the shard before it are done, in the order of their UTF-16 code units. */
  readonly name: string;
}

/** A page of retained messages. It may be empty although more follow. */
export interface RetainedPage {
  /** The coordinator that was asked. */
  readonly coordinator: number;
  readonly messages: readonly RetainedMessage[];
  /** Undefined: this was the last. */
  readonly next: RetainedPlace | undefined;
}

export interface RetainedGateway {
  /**
   * A page of the retained messages whose name matches the filter, at most `limit` (0: as many as it has room for),
   * from `from` on, once the fold of every listed partition that it concerns has reached its offset. Pages come in
   * the order of coordinators, shards and names. Rejects with UNAVAILABLE when one cannot be asked in time.
   */
  page(
    filter: string,
    reached: readonly ShardPosition[],
    at: { readonly from: RetainedPlace | undefined; readonly limit: number },
  ): Promise<RetainedPage>;
  /** Whether the store has room for one more in that partition, as far as this broker has heard. */
  hasRoom(shardId: ShardId): boolean;
}
