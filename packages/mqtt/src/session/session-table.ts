import { assert, type Offset, shardId, unreachable } from '@robustmq/core';
import { EntityTable, type Outbox } from '@robustmq/kernel';
import { HeaderBlock, tokensOfName } from '@robustmq/record-batch';
import {
  type MqttDisconnected,
  type MqttInboundReleased,
  type MqttMessage,
  MqttOutboxTag,
  type MqttProgress,
  type MqttReplay,
  type MqttSessionEvent,
  type MqttSessionGranted,
  MqttStoreInbound,
  type MqttSubscribe,
  type MqttTarget,
  type MqttUnsubscribe,
  type MqttWillFired,
} from '@robustmq/rpc';
import { decodeMessage, encodeMessage } from './encoded-message.ts';
import { GrantIndex } from './grant-index.ts';
import { OwedLeaves } from './owed-leaves.ts';
import { newSession, type Session, subscriptionBytes } from './session-state.ts';
import {
  encodeInbound,
  encodeSession,
  newStoredInbound,
  type SessionImageSink,
  sessionSnapshot,
  SnapshotReader,
  type StoredInbound,
} from './session-snapshot.ts';
import { headersOfProto, ownMessage } from './stored-message.ts';

/**
 * The logged sessions of one coordinator as a fold over its events. Pure: what is published is put into
 * the outbox, which is a fold, too.
 */
export class SessionTable implements SessionImageSink {
  readonly #sessions = new EntityTable<string, Session>((_, session) => encodeSession(session));
  /** Stored QoS 2 publishes, by client id and packet id. */
  readonly #inbound = new EntityTable<string, StoredInbound>((_, stored) => encodeInbound(stored));
  readonly #outbox: Outbox;
  readonly #reader = new SnapshotReader(this);
  /** Grants of logged sessions; whoever keeps others in memory adds them. */
  readonly grants = new GrantIndex();
  /** Epochs below it may have been granted. */
  reservedEpochs = 0;
  /** Share groups that have to hear of the end of sessions. */
  readonly owedLeaves = new OwedLeaves();

  constructor(outbox: Outbox) {
    this.#outbox = outbox;
  }

  get size(): number {
    return this.#sessions.size;
  }

  get(clientId: string): Readonly<Session> | undefined {
    return this.#sessions.get(clientId);
  }

  sessions(): IterableIterator<[string, Readonly<Session>]> {
    return this.#sessions.entries();
  }

  /** `offset` is the event's own: it becomes the id of a release. */
  apply({ clientId, event }: MqttSessionEvent, offset: Offset): void {
    switch (event?.$case) {
      case undefined:
        return;
      case 'epochsReserved':
        this.reservedEpochs = event.value.until;
        return;
      case 'granted':
        this.#grant(clientId, event.value);
        return;
      case 'removed':
        this.#remove(clientId);
        return;
      case 'subscribed':
        subscribe(this.#edit(clientId), event.value);
        return;
      case 'unsubscribed':
        this.#unsubscribe(this.#edit(clientId), event.value);
        return;
      case 'progressed':
        progress(this.#edit(clientId), event.value);
        return;
      case 'inboundStored':
        this.#storeInbound(this.#edit(clientId), event.value);
        return;
      case 'inboundReleased':
        this.#releaseInbound(this.#edit(clientId), event.value, offset);
        return;
      case 'disconnected':
        this.#disconnect(this.#edit(clientId), event.value);
        return;
      case 'willFired':
        this.#fireWill(this.#edit(clientId), event.value);
        return;
      default:
        unreachable(event);
    }
  }

  /** A fold: the outbox forgets an entry. */
  confirmed(tag: MqttOutboxTag): void {
    const session = this.#sessions.get(tag.clientId);
    // The packet id may be in use again, and the session may be gone.
    if (session?.releases.get(tag.packetId) !== tag.releaseId) return;
    this.#sessions.edit(tag.clientId)?.releases.delete(tag.packetId);
  }

  snapshot(): Iterator<Buffer> {
    return sessionSnapshot(
      this.reservedEpochs,
      this.#sessions.snapshot(),
      this.#inbound.snapshot(),
      this.owedLeaves.images(),
    );
  }

  restoreChunk(chunk: Buffer): void {
    this.#reader.chunk(chunk);
  }

  // SessionImageSink

  restoreEpochs(until: number): void {
    this.reservedEpochs = until;
  }

  restoreSession(session: Session): void {
    this.#sessions.set(session.clientId, session);
    if (session.disconnected === undefined) this.grants.add(session.granted, session.clientId);
  }

  restoreInbound(stored: StoredInbound): void {
    this.#inbound.set(inboundKey(stored.clientId, stored.packetId), stored);
    const session = this.#sessions.edit(stored.clientId);
    assert(session !== undefined, 'a stored publish is of a session in the snapshot');
    session.inbound.set(stored.packetId, stored);
    session.inboundBytes += stored.bytes;
  }

  restoreOwedLeave(image: Buffer): void {
    this.owedLeaves.restore(image);
  }

  #edit(clientId: string): Session {
    const session = this.#sessions.edit(clientId);
    assert(session !== undefined, 'only a session that exists changes');
    return session;
  }

  #grant(clientId: string, granted: MqttSessionGranted): void {
    const { will } = granted;
    const own: MqttSessionGranted = {
      ...granted,
      will: will && { ...will, message: will.message && ownMessage(will.message) },
    };
    const session = this.#sessions.edit(clientId);
    if (session === undefined) this.#sessions.set(clientId, newSession(clientId, own));
    else {
      assert(granted.present, 'a session that is not resumed was removed before');
      this.grants.remove(session.granted, clientId);
      session.granted = own;
      session.disconnected = undefined;
    }
    this.grants.add(own, clientId);
  }

  #remove(clientId: string): void {
    const session = this.#sessions.get(clientId);
    if (session === undefined) return;
    this.grants.remove(session.granted, clientId);
    this.owedLeaves.add(clientId, session.granted.epoch, session.subscriptions.keys());
    for (const packetId of session.inbound.keys()) {
      this.#inbound.delete(inboundKey(clientId, packetId));
    }
    this.#sessions.delete(clientId);
  }

  #unsubscribe(session: Session, { filters }: MqttUnsubscribe): void {
    for (const filter of filters) unsubscribe(session, filter);
  }

  #storeInbound(session: Session, inbound: MqttStoreInbound): void {
    const stored = newStoredInbound(session.clientId, inbound);
    this.#inbound.set(inboundKey(session.clientId, stored.packetId), stored);
    session.inbound.set(stored.packetId, stored);
    session.inboundBytes += stored.bytes;
  }

  #releaseInbound(session: Session, released: MqttInboundReleased, offset: Offset): void {
    const { clientId } = session;
    const { packetId, target } = released;
    const key = inboundKey(clientId, packetId);
    const stored = this.#inbound.get(key);
    assert(stored !== undefined, 'what is released was stored');
    const { message } = decodeMessage(MqttStoreInbound, stored.encoded);
    this.#inbound.delete(key);
    session.inbound.delete(packetId);
    session.inboundBytes -= stored.bytes;
    session.releases.set(packetId, offset);
    this.#publish(message, target, { clientId, packetId, releaseId: offset });
  }

  #disconnect(session: Session, disconnected: MqttDisconnected): void {
    this.grants.remove(session.granted, session.clientId);
    session.disconnected = disconnected;
    if (disconnected.willAtMs === undefined) discardWill(session);
  }

  #fireWill(session: Session, { target }: MqttWillFired): void {
    const { clientId } = session;
    this.#publish(session.granted.will?.message, target, { clientId, packetId: 0, releaseId: 0 });
    discardWill(session);
  }

  #publish(
    message: MqttMessage | undefined,
    target: MqttTarget | undefined,
    tag: MqttOutboxTag,
  ): void {
    assert(message !== undefined && target !== undefined, 'what is published has a target');
    this.#outbox.enqueue({
      target: shardId(target.shardId),
      record: {
        timestampMs: target.timestampMs,
        key: target.key ?? null,
        value: message.value ?? null,
        headers: HeaderBlock.of(headersOfProto(message.headers)),
        filterTokens: tokensOfName(Buffer.from(message.topic)),
      },
      tag: encodeMessage(MqttOutboxTag, tag),
    });
  }
}

function inboundKey(clientId: string, packetId: number): string {
  return `${packetId}/${clientId}`;
}

function discardWill(session: Session): void {
  if (session.granted.will !== undefined) session.granted = { ...session.granted, will: undefined };
  const { disconnected } = session;
  if (disconnected?.willAtMs === undefined) return;
  session.disconnected = { ...disconnected, willAtMs: undefined };
}

function subscribe(session: Session, { subscriptions, replays }: MqttSubscribe): void {
  for (const subscription of subscriptions) {
    replaced(session, subscription.filter);
    session.subscriptions.set(subscription.filter, subscription);
    session.subscriptionBytes += subscriptionBytes(subscription);
  }
  for (const filter of replays) owe(session, { filter, coordinator: 0, from: undefined });
}

/** One that replaces another has its rest. */
function owe(session: Session, replay: MqttReplay): void {
  if (session.subscriptions.has(replay.filter)) session.replays.set(replay.filter, replay);
}

function unsubscribe(session: Session, filter: string): void {
  session.replays.delete(filter);
  replaced(session, filter);
}

function replaced(session: Session, filter: string): void {
  const before = session.subscriptions.get(filter);
  if (before === undefined) return;
  session.subscriptions.delete(filter);
  session.subscriptionBytes -= subscriptionBytes(before);
}

function progress(session: Session, progressed: MqttProgress): void {
  const { positions, window, complete, trimmed, replays } = progressed;
  if (complete) {
    session.positions.clear();
    session.replays.clear();
    for (const replay of replays) owe(session, replay);
  }
  for (const { shardId, offset } of positions) session.positions.set(shardId, offset);
  session.window = window;
  session.trimmed = trimmed ?? session.trimmed;
}
