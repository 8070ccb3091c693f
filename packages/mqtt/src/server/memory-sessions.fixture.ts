import { OperatingError } from '@robustmq/core';

import type {
  ConnectSession,
  OwedReplay,
  RevokeReason,
  SessionGateway,
  SessionGrant,
  SessionGranted,
  SessionProgress,
  SessionSubscription,
  ShardPosition,
  StoredMessage,
  TrimmedRecords,
  WillToStore,
  WindowEntry,
} from '../session/session-gateway.ts';

/** The calls of a gateway. */
export type SessionCall = Exclude<keyof SessionGateway, 'onRevoked' | 'announce'>;
type RevokeListener = (clientId: string, epoch: number, reason: RevokeReason) => void;
type SessionEnd = Parameters<SessionGateway['disconnect']>[1];

/** A session as the coordinator would keep it. */
export interface MemorySession {
  epoch: number;
  isConnected: boolean;
  expirySeconds: number;
  will: WillToStore | undefined;
  readonly subscriptions: Map<string, SessionSubscription>;
  readonly positions: Map<number, ShardPosition>;
  window: readonly WindowEntry[];
  trimmed: TrimmedRecords | undefined;
  readonly replays: Map<string, OwedReplay>;
  readonly inbound: Map<number, StoredMessage>;
}

/**
 * The session coordinators of a cluster in memory. Sessions expire only by {@link expire}; wills are
 * listed and not published. Calls of one client are carried out in order; `before` may hold or fail them.
 */
export class MemorySessions {
  readonly sessions = new Map<string, MemorySession>();
  /** Wills that were due at the end of a connection. */
  readonly wills: { readonly clientId: string; readonly will: WillToStore }[] = [];
  readonly ends: { readonly clientId: string; readonly end: SessionEnd }[] = [];
  /** Every call, in the order in which they were carried out. */
  readonly calls: { readonly call: SessionCall; readonly clientId: string }[] = [];
  /** Called before a call is carried out; it may throw, or return a promise to hold it. */
  before: (call: SessionCall, clientId: string) => Promise<void> | void = () => {};
  /** Called in the moment in which a call was carried out. */
  after: (call: SessionCall, clientId: string) => void = () => {};
  /** Publishes what PUBREL has released. */
  readonly #publish: (message: StoredMessage) => Promise<void>;
  readonly #lines = new Map<string, Promise<unknown>>();
  readonly #listeners = new Map<string, RevokeListener>();
  readonly #brokerOf = new Map<string, string>();
  #epochs = 0;

  constructor(publish: (message: StoredMessage) => Promise<void>) {
    this.#publish = publish;
  }

  session(clientId: string): MemorySession {
    const session = this.sessions.get(clientId);
    if (session === undefined) throw new Error(`there is no session ${clientId}`);
    return session;
  }

  /** Ends a session that is not connected. */
  expire(clientId: string): void {
    this.sessions.delete(clientId);
  }

  /** Takes a session from its broker, as an operator or another broker does. */
  revoke(clientId: string, reason: RevokeReason): void {
    const { epoch } = this.session(clientId);
    this.#tell(clientId, epoch, reason);
  }

  /** A broker's door. */
  gateway(brokerId: string): SessionGateway {
    const inTurn = <T>(
      call: SessionCall,
      clientId: string,
      work: () => Promise<T> | T,
    ): Promise<T> => this.#inTurn(call, clientId, work);
    return {
      connect: (request) =>
        inTurn('connect', request.clientId, () => this.#connect(brokerId, request)),
      subscribe: (grant, subscriptions, replays = []) =>
        inTurn('subscribe', grant.clientId, () => {
          const session = this.#held(grant);
          for (const one of subscriptions) session.subscriptions.set(one.filter, one);
          for (const filter of replays) session.replays.set(filter, { filter, from: undefined });
        }),
      unsubscribe: (grant, filters) =>
        inTurn('unsubscribe', grant.clientId, () => {
          const session = this.#held(grant);
          for (const filter of filters) {
            session.subscriptions.delete(filter);
            session.replays.delete(filter);
          }
        }),
      progress: (grant, progress) =>
        inTurn('progress', grant.clientId, () => store(this.#held(grant), progress)),
      storeInbound: (grant, packetId, message) =>
        inTurn('storeInbound', grant.clientId, () => {
          const { inbound } = this.#held(grant);
          if (!inbound.has(packetId)) inbound.set(packetId, message);
        }),
      releaseInbound: (grant, packetId) =>
        inTurn('releaseInbound', grant.clientId, async () => {
          const { inbound } = this.#held(grant);
          const message = inbound.get(packetId);
          if (message === undefined) return false;
          await this.#publish(message);
          return inbound.delete(packetId);
        }),
      disconnect: (grant, end) =>
        inTurn('disconnect', grant.clientId, () => this.#disconnect(grant, end)),
      onRevoked: (listener) => {
        this.#listeners.set(brokerId, listener);
      },
      announce: () => {},
    };
  }

  #inTurn<T>(call: SessionCall, clientId: string, work: () => Promise<T> | T): Promise<T> {
    const before = this.#lines.get(clientId) ?? Promise.resolve();
    const done = before.then(async () => {
      await this.before(call, clientId);
      this.calls.push({ call, clientId });
      const result = await work();
      this.after(call, clientId);
      return result;
    });
    this.#lines.set(
      clientId,
      done.catch(() => {}),
    );
    return done;
  }

  #connect(brokerId: string, request: ConnectSession): SessionGranted {
    const { clientId, cleanStart, expirySeconds, will } = request;
    const known = this.sessions.get(clientId);
    if (known?.isConnected === true) this.#tell(clientId, known.epoch, 'taken-over');
    const isPresent = known !== undefined && !cleanStart && known.expirySeconds > 0;
    const session = isPresent ? known : newSession();
    Object.assign(session, { epoch: ++this.#epochs, isConnected: true, expirySeconds, will });
    this.sessions.set(clientId, session);
    this.#brokerOf.set(clientId, brokerId);
    return {
      epoch: session.epoch,
      present: isPresent,
      subscriptions: [...session.subscriptions.values()],
      positions: [...session.positions.values()],
      window: session.window,
      trimmed: session.trimmed,
      replays: [...session.replays.values()],
      inboundPacketIds: [...session.inbound.keys()],
    };
  }

  #disconnect(grant: SessionGrant, end: SessionEnd): void {
    const session = this.#held(grant);
    const { clientId } = grant;
    this.ends.push({ clientId, end });
    if (end.progress !== undefined) store(session, end.progress);
    if (session.will !== undefined && end.publishWill) {
      this.wills.push({ clientId, will: session.will });
    }
    session.isConnected = false;
    session.will = undefined;
    session.expirySeconds = end.expirySeconds ?? session.expirySeconds;
    if (session.expirySeconds === 0) this.sessions.delete(clientId);
  }

  #held({ clientId, epoch }: SessionGrant): MemorySession {
    const session = this.sessions.get(clientId);
    if (session?.epoch === epoch) return session;
    throw new OperatingError('FENCED', `${clientId} has epoch ${session?.epoch}, not ${epoch}`);
  }

  #tell(clientId: string, epoch: number, reason: RevokeReason): void {
    const brokerId = this.#brokerOf.get(clientId) ?? '';
    this.#listeners.get(brokerId)?.(clientId, epoch, reason);
  }
}

function newSession(): MemorySession {
  return {
    epoch: 0,
    isConnected: false,
    expirySeconds: 0,
    will: undefined,
    subscriptions: new Map(),
    positions: new Map(),
    window: [],
    trimmed: undefined,
    replays: new Map(),
    inbound: new Map(),
  };
}

function store(session: MemorySession, progress: SessionProgress): void {
  const { positions, window, complete, trimmed, replays } = progress;
  if (complete) {
    session.positions.clear();
    session.replays.clear();
    for (const replay of replays) session.replays.set(replay.filter, replay);
  }
  session.trimmed = trimmed ?? session.trimmed;
  for (const position of positions) session.positions.set(position.shardId, position);
  session.window = window;
}
