import {
  type Offset,
  offset,
  type OperatingError,
  type ShardId,
  toOperatingError,
} from '@robustmq/core';
import type { CatchUp, DecodedBatch, LogReader } from '@robustmq/kernel';

import type { Qos } from '../codec/packet.ts';
import type { PacketWriter } from '../codec/packet-writer.ts';
import type { Output } from '../connection/output.ts';
import { RecordMessage, secondsLeft } from '../message/record-message.ts';
import type { MqttLimits } from '../server/mqtt-limits.ts';
import type {
  RetainedMessage,
  SessionGrant,
  SessionGranted,
  SessionProgress,
  ShardPosition,
  WindowEntry,
} from '../session/session-gateway.ts';
import { Lag } from './lag.ts';
import { type LiveReaders, startClasses } from './live-readers.ts';
import type { LiveSubscription } from './live-subscription.ts';
import type { MatchTarget, NameMatch } from './match-table.ts';
import type { ProgressKeeper } from './progress-keeper.ts';
import { readWindow } from './redelivery.ts';
import { SendWindow } from './window.ts';

const noIds: readonly number[] = [];

/** The client at the other end, as far as delivery needs it. */
export interface DeliveryClient {
  readonly mqtt5: boolean;
  readonly packetBytesMax: number;
  readonly receiveMaximum: number;
  readonly output: Output;
  /** Owes the client a PUBREL. */
  sendPubrel(packetId: number): void;
  /** Delivery cannot go on: ends the connection; the client comes back and is served from the log. */
  failed(error: OperatingError): void;
}

/** What all sessions of a broker share. */
export interface DeliveryContext {
  readonly readers: LiveReaders;
  readonly catchUp: CatchUp;
  readonly log: LogReader;
  readonly progress: ProgressKeeper;
  readonly limits: MqttLimits;
  /** For packets of one client alone. */
  readonly writer: PacketWriter;
}

/**
 * A connected session: what it is subscribed to, what is under way to its client, and how far it is
 * on each partition. On a partition it is either live (its position is the live reader's frontier)
 * or lagging (packages/mqtt/DESIGN.md, "Positions").
 */
export class LiveSession {
  readonly grant: SessionGrant;
  /** Its state outlives the connection. */
  readonly durable: boolean;
  readonly publisher: Buffer;
  readonly subscriptions = new Map<string, LiveSubscription>();
  readonly #client: DeliveryClient;
  readonly #context: DeliveryContext;
  #window: SendWindow | undefined;
  #lags: Map<ShardId, Lag> | undefined;
  /** Partitions of its subscriptions, with the number of subscriptions that need each. */
  readonly #shards = new Map<ShardId, number>();
  /** Until what an earlier connection left is sent again, nothing new is. */
  #resuming = false;
  #ended = false;
  #waitingForRoom: (() => void)[] | undefined;

  constructor(
    client: DeliveryClient,
    context: DeliveryContext,
    own: { grant: SessionGrant; durable: boolean; publisher: Buffer },
  ) {
    this.#client = client;
    this.#context = context;
    this.grant = own.grant;
    this.durable = own.durable;
    this.publisher = own.publisher;
  }

  /** Whether it was taken over or its client has gone. */
  get ended(): boolean {
    return this.#ended;
  }

  get lagging(): boolean {
    return this.#lags !== undefined;
  }

  /** The session takes nothing any more; its readers are given back. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const [filter] of this.subscriptions) this.#context.readers.trie.remove(filter, this);
    for (const [shardId, count] of this.#shards) {
      for (let i = 0; i < count; i++) this.#context.readers.release(shardId);
    }
    for (const lag of this.#lags?.values() ?? []) lag.cursor.close();
    this.#lags = undefined;
    this.#context.progress.forget(this);
    this.#wakeWaiters();
  }

  // ---- subscriptions

  /**
   * Adds or replaces a subscription. `ends` are the end offsets of its partitions as they were read
   * after the request came; a session that was not on a partition yet begins there.
   */
  subscribe(subscription: LiveSubscription, ends: ReadonlyMap<ShardId, Offset>): void {
    const { filter } = subscription.stored;
    const replaced = this.subscriptions.get(filter);
    this.subscriptions.set(filter, subscription);
    for (const shardId of subscription.shardIds) {
      this.#join(subscription, shardId, ends.get(shardId) ?? offset(0), replaced !== undefined);
    }
    this.#context.readers.trie.insert(filter, this, subscription);
    if (replaced !== undefined) this.#leave(replaced.shardIds);
    this.#pump();
  }

  /** Whether there was such a subscription. [MQTT5-3.10.4-1] */
  unsubscribe(filter: string): boolean {
    const subscription = this.subscriptions.get(filter);
    if (subscription === undefined) return false;
    this.subscriptions.delete(filter);
    this.#context.readers.trie.remove(filter, this);
    this.#leave(subscription.shardIds);
    return true;
  }

  /** A partition that was made after the subscription: all of it is the session's. */
  addShard(subscription: LiveSubscription, shardId: ShardId): void {
    subscription.shardIds = [...subscription.shardIds, shardId];
    this.#join(subscription, shardId, offset(0), false);
    this.#pump();
  }

  #join(subscription: LiveSubscription, shardId: ShardId, end: Offset, replaces: boolean): void {
    const { readers } = this.#context;
    readers.acquire(shardId, end);
    const users = this.#shards.get(shardId) ?? 0;
    this.#shards.set(shardId, users + 1);
    const frontier = readers.frontier(shardId) ?? end;
    if (users === 0 && frontier > end) this.#lagFrom(shardId, end, end);
    // A replaced subscription goes on where it was: nothing may be missed. [MQTT5-3.8.4-3]
    else if (!replaces && end > frontier) subscription.startLiveAt(shardId, end);
  }

  #leave(shardIds: readonly ShardId[]): void {
    for (const shardId of shardIds) {
      const users = (this.#shards.get(shardId) ?? 1) - 1;
      this.#context.readers.release(shardId);
      if (users > 0) {
        this.#shards.set(shardId, users);
        continue;
      }
      this.#shards.delete(shardId);
      this.#lags?.get(shardId)?.cursor.close();
      this.#dropLag(shardId);
    }
  }

  // ---- taking up an earlier connection

  /**
   * Takes up what the coordinator keeps: unfinished messages are sent again with their packet ids,
   * in order, then what was missed. [MQTT5-4.4.0-1] `ends` are the partitions' ends now.
   */
  async resume(
    granted: SessionGranted,
    subscriptions: readonly LiveSubscription[],
    ends: ReadonlyMap<ShardId, Offset>,
  ): Promise<void> {
    this.#resuming = true;
    if (granted.window.length > 0) this.#window = this.#newWindow(granted.window);
    const positions = new Map(granted.positions.map(({ shardId, offset: at }) => [shardId, at]));
    for (const subscription of subscriptions) {
      this.subscriptions.set(subscription.stored.filter, subscription);
      for (const shardId of subscription.shardIds)
        this.#rejoin(subscription, shardId, positions, ends);
      this.#context.readers.trie.insert(subscription.stored.filter, this, subscription);
    }
    await this.#sendAgain(granted.window);
    this.#resuming = false;
    this.#pump();
  }

  #rejoin(
    subscription: LiveSubscription,
    shardId: ShardId,
    positions: ReadonlyMap<ShardId, Offset>,
    ends: ReadonlyMap<ShardId, Offset>,
  ): void {
    const { readers } = this.#context;
    const end = ends.get(shardId) ?? offset(0);
    readers.acquire(shardId, end);
    const users = this.#shards.get(shardId) ?? 0;
    this.#shards.set(shardId, users + 1);
    if (users > 0) return;
    const start = subscription.stored.startOffsets.find((own) => own.shardId === shardId)?.offset;
    const position = positions.get(shardId) ?? start ?? offset(0);
    this.#lagFrom(shardId, position, end);
  }

  async #sendAgain(entries: readonly WindowEntry[]): Promise<void> {
    if (entries.length === 0) return;
    const found = await readWindow(this.#context.log, entries, (cursor, batch, entry) => {
      const match = this.#context.readers.tableOfShard(entry.shardId)?.of(cursor);
      if (match === undefined) return undefined;
      scratch.read(cursor);
      const left = secondsLeft(
        scratch.expiryMs,
        batch.appendTimeMs,
        this.#context.readers.wallMs(),
      );
      startClasses(this.#context.readers.classes, match, scratch, left === 0 ? 1 : left);
      return this.#encodeAgain(match, entry);
    });
    for (const entry of entries) {
      if (this.#ended) return;
      const packet = found.get(entry.packetId);
      if (entry.state === 'released') this.#client.sendPubrel(entry.packetId);
      else if (packet !== undefined) this.#client.output.packet(packet);
      else this.#window?.remove(entry.packetId);
    }
  }

  #encodeAgain(match: NameMatch, entry: WindowEntry): Buffer {
    const { writer, readers } = this.#context;
    const own = match.targets.find((target) => target.session === this);
    readers.classes.encodeFor(writer, this.#client.mqtt5, {
      qos: entry.qos,
      retain: own !== undefined && own.first.stored.retainAsPublished && scratch.retain,
      dup: true,
      packetId: entry.packetId,
      subscriptionIds: own === undefined ? noIds : idsOf(own.first, own.more),
    });
    return Buffer.from(writer.take());
  }

  // ---- delivery

  /** A record of the live path that one of the session's subscriptions matches. */
  deliverLive(target: MatchTarget, message: RecordMessage, shardId: ShardId, at: number): void {
    if (this.#lags !== undefined && !this.#passesLive(shardId, at)) return;
    const { first, more } = target;
    if (more === undefined) {
      if (!first.takesLive(shardId, at) || this.#isOwn(first, message)) return;
      const { qos, retainAsPublished, subscriptionId } = first.stored;
      const ids = subscriptionId === 0 ? noIds : [subscriptionId];
      this.#deliver(message, { qos, retain: retainAsPublished, ids }, shardId, at);
      return;
    }
    const taking = [first, ...more].filter((one) => one.takesLive(shardId, at));
    this.#deliverMerged(taking, message, shardId, at);
  }

  /** Overlapping subscriptions: one copy, the highest QoS, all identifiers. [MQTT5-3.3.4-2, -3.3.4-3] */
  #deliverMerged(
    subscriptions: readonly LiveSubscription[],
    message: RecordMessage,
    shardId: ShardId,
    at: number,
  ): boolean {
    const taking = subscriptions.filter((one) => !this.#isOwn(one, message));
    if (taking.length === 0) return true;
    const [first, ...more] = taking;
    if (first === undefined) return true;
    const qos = Math.max(...taking.map((one) => one.stored.qos)) as Qos;
    const retain = taking.some((one) => one.stored.retainAsPublished);
    return this.#deliver(message, { qos, retain, ids: idsOf(first, more) }, shardId, at);
  }

  #isOwn(subscription: LiveSubscription, message: RecordMessage): boolean {
    return subscription.stored.noLocal && message.isFrom(this.publisher);
  }

  /** False: there is no room; the session lags from this record on. */
  #deliver(
    message: RecordMessage,
    granted: { qos: Qos; retain: boolean; ids: readonly number[] },
    shardId: ShardId,
    at: number,
  ): boolean {
    const qos = message.qos === -1 ? granted.qos : (Math.min(message.qos, granted.qos) as Qos);
    const retain = granted.retain && message.retain;
    const { output } = this.#client;
    const { counters } = this.#context.readers;
    if (qos === 0) {
      if (output.full) counters.droppedOut++;
      else this.#send(0, retain, granted.ids, 0);
      return true;
    }
    if (output.full || this.#resuming || this.#window?.full === true) {
      if (this.#lags?.has(shardId) !== true) this.#lagFrom(shardId, offset(at), offset(0));
      return false;
    }
    if (this.#tooLarge(qos, retain, granted.ids)) {
      counters.droppedTooLarge++;
      return true;
    }
    this.#window ??= this.#newWindow([]);
    const packetId = this.#window.add(shardId, offset(at), qos);
    this.#send(qos, retain, granted.ids, packetId);
    return true;
  }

  #send(qos: Qos, retain: boolean, ids: readonly number[], packetId: number): void {
    const { writer, readers, progress } = this.#context;
    const { mqtt5, output, packetBytesMax } = this.#client;
    readers.counters.publishesOut[qos]++;
    if (mqtt5 && ids.length > 0) {
      const own = { qos, retain, dup: false, packetId, subscriptionIds: ids };
      readers.classes.encodeFor(writer, mqtt5, own);
      if (writer.length > packetBytesMax) {
        writer.clear();
        readers.counters.droppedTooLarge++;
        return;
      }
    } else {
      const shared = readers.classes.packet(mqtt5, qos, retain);
      if (qos === 0) {
        // Too large for the client: as if it had been sent. [MQTT5-3.1.2-25]
        if (shared.length > packetBytesMax) readers.counters.droppedTooLarge++;
        else output.packet(shared);
        return;
      }
      const at = writer.length + readers.classes.packetIdAt(mqtt5, qos, retain);
      writer.bytes(shared);
      writer.patchU16(at, packetId);
    }
    const packet = writer.take();
    if (!this.durable || qos === 0) {
      output.packet(packet);
    } else if (qos === 1) {
      output.packet(packet);
      progress.later(this);
    } else {
      // The window entry is stored before the packet leaves: exactly once across brokers.
      progress.now(this, () => output.packet(packet));
    }
  }

  #tooLarge(qos: Qos, retain: boolean, ids: readonly number[]): boolean {
    const { mqtt5, packetBytesMax } = this.#client;
    const idBytes = mqtt5 ? ids.length * 5 + 3 : 0;
    return (
      this.#context.readers.classes.packet(mqtt5, qos, retain).length + idBytes > packetBytesMax
    );
  }

  #newWindow(entries: readonly WindowEntry[]): SendWindow {
    const size = Math.min(this.#client.receiveMaximum, this.#context.limits.windowMax);
    return new SendWindow(size, entries);
  }

  // ---- what the client answers

  /** PUBACK. An unknown packet id is left alone. [MQTT5-4.4.0-2] */
  acknowledged(packetId: number): void {
    if (this.#window?.get(packetId)?.qos !== 1) return;
    this.#window.remove(packetId);
    this.#settled();
  }

  /** PUBREC; `failed`: the client does not want it. False: unknown packet id. */
  received(packetId: number, failed: boolean): boolean {
    const entry = this.#window?.get(packetId);
    if (entry?.qos !== 2) return false;
    if (failed) {
      this.#window?.remove(packetId);
      this.#settled();
      return true;
    }
    this.#window?.release(packetId);
    const pubrel = (): void => this.#client.sendPubrel(packetId);
    if (this.durable) this.#context.progress.now(this, pubrel);
    else pubrel();
    return true;
  }

  /** PUBCOMP. */
  completed(packetId: number): void {
    if (this.#window?.get(packetId)?.state !== 'released') return;
    this.#window.remove(packetId);
    this.#settled();
  }

  #settled(): void {
    if (this.durable) this.#context.progress.later(this);
    if (this.#lags !== undefined || this.#waitingForRoom !== undefined) this.roomMade();
  }

  /** There is room in the window or in the socket: a lagging session reads on. */
  roomMade(): void {
    if (!this.#hasRoom()) return;
    this.#wakeWaiters();
    this.#pump();
  }

  /** Reading on for less than a part of the window would cost a read per few messages. */
  #hasRoom(): boolean {
    if (this.#client.output.full) return false;
    const window = this.#window;
    if (window === undefined) return true;
    const size = Math.min(this.#client.receiveMaximum, this.#context.limits.windowMax);
    return window.length <= Math.floor(size / 2);
  }

  // ---- retained messages

  /** A retained message for a new subscription; waits until there is room for it. */
  async deliverRetained(subscription: LiveSubscription, retained: RetainedMessage): Promise<void> {
    const message = retainedScratch;
    const load = (): void => {
      message.readStored(retained.value, retained.headers);
      const left = secondsLeft(
        message.expiryMs,
        retained.appendTimeMs,
        this.#context.readers.wallMs(),
      );
      const match = { nameBytes: Buffer.from(retained.topic) };
      startClasses(this.#context.readers.classes, match, message, left === 0 ? 1 : left);
    };
    const { subscriptionId, qos } = subscription.stored;
    const ids = subscriptionId === 0 ? noIds : [subscriptionId];
    while (
      !this.#ended &&
      (this.#client.output.full || this.#window?.full === true || this.#resuming)
    ) {
      await new Promise<void>((resolve) => (this.#waitingForRoom ??= []).push(resolve));
    }
    if (this.#ended) return;
    load();
    this.#deliver(message, { qos, retain: true, ids }, retained.shardId, retained.offset);
  }

  #wakeWaiters(): void {
    const waiting = this.#waitingForRoom;
    this.#waitingForRoom = undefined;
    for (const wake of waiting ?? []) wake();
  }

  // ---- lagging

  #lagFrom(shardId: ShardId, from: Offset, qos0From: Offset): void {
    this.#lags ??= new Map();
    this.#lags.set(shardId, new Lag(this.#context.catchUp.cursor(shardId, from), qos0From));
  }

  #dropLag(shardId: ShardId): void {
    this.#lags?.delete(shardId);
    if (this.#lags?.size === 0) this.#lags = undefined;
  }

  /** Whether a live record is the session's to take now; ends the lag when it has caught up. */
  #passesLive(shardId: ShardId, at: number): boolean {
    const lag = this.#lags?.get(shardId);
    if (lag === undefined) return true;
    if (lag.joinAt === undefined || at < lag.joinAt) return false;
    lag.cursor.close();
    this.#dropLag(shardId);
    return true;
  }

  #pump(): void {
    if (this.#resuming || this.#ended || this.#lags === undefined || !this.#hasRoom()) return;
    for (const [shardId, lag] of this.#lags) {
      if (!lag.reading && lag.joinAt === undefined) void this.#catchUp(shardId, lag);
    }
  }

  async #catchUp(shardId: ShardId, lag: Lag): Promise<void> {
    lag.reading = true;
    try {
      while (this.#lags?.get(shardId) === lag && this.#hasRoom()) {
        if (this.#caughtUp(shardId, lag)) return;
        await this.#readOn(shardId, lag);
      }
    } finally {
      lag.reading = false;
    }
  }

  /** Joins the live path when there is nothing before it. Same turn, so no gap and no repeat. */
  #caughtUp(shardId: ShardId, lag: Lag): boolean {
    const frontier = this.#context.readers.frontier(shardId);
    if (frontier === undefined || lag.position < frontier) return false;
    if (lag.position === frontier) {
      lag.cursor.close();
      this.#dropLag(shardId);
    } else {
      lag.joinAt = lag.position;
    }
    return true;
  }

  async #readOn(shardId: ShardId, lag: Lag): Promise<void> {
    const { limits, readers } = this.#context;
    if (lag.cursor.position !== lag.position) lag.cursor.seek(lag.position);
    try {
      const step = await lag.cursor.read(limits.catchUpReadBytes, (batch) =>
        this.#takeBatch(shardId, lag, batch),
      );
      if (!lag.stopped && step.nextOffset > lag.position) lag.position = step.nextOffset;
      lag.stopped = false;
    } catch (thrown) {
      if (this.#lags?.get(shardId) !== lag) return;
      const earliest = lag.lost(thrown);
      if (earliest === undefined) {
        this.#client.failed(toOperatingError(thrown));
        return;
      }
      readers.counters.lostToRetention += earliest - lag.position;
      lag.position = earliest;
    }
  }

  #takeBatch(shardId: ShardId, lag: Lag, batch: DecodedBatch): boolean {
    const { cursor } = batch;
    const table = this.#context.readers.tableOfShard(shardId);
    if (this.#lags?.get(shardId) !== lag || table === undefined) {
      lag.stopped = true;
      return false;
    }
    while (cursor.next()) {
      const at = batch.baseOffset + cursor.offsetDelta;
      if (at < lag.position) continue;
      if (!this.#takeRecord(shardId, lag, batch, table.of(cursor), at)) {
        lag.position = offset(at);
        lag.stopped = true;
        return false;
      }
      lag.position = offset(at + 1);
    }
    lag.position = batch.nextOffset;
    return true;
  }

  /** False: no room. */
  #takeRecord(
    shardId: ShardId,
    lag: Lag,
    batch: DecodedBatch,
    match: NameMatch,
    at: number,
  ): boolean {
    const own = match.targets.find((target) => target.session === this);
    if (own === undefined) return true;
    const message = scratch;
    message.read(batch.cursor);
    if (match.dollar && message.publisherStart < 0) return true;
    const { readers } = this.#context;
    const left = secondsLeft(message.expiryMs, batch.appendTimeMs, readers.wallMs());
    if (left === 0) {
      readers.counters.droppedExpired++;
      return true;
    }
    const all = own.more === undefined ? [own.first] : [own.first, ...own.more];
    const taking = all.filter(
      (one) =>
        one.takes(shardId, at) && (at >= lag.qos0From || (message.qos !== 0 && one.stored.qos > 0)),
    );
    startClasses(readers.classes, match, message, left);
    return this.#deliverMerged(taking, message, shardId, at);
  }

  // ---- progress

  /** What the coordinator should know of it. Everything below a position is settled or in the window. */
  progress(): SessionProgress {
    const positions: ShardPosition[] = [];
    for (const shardId of this.#shards.keys()) {
      const lag = this.#lags?.get(shardId);
      const at = lag === undefined ? this.#context.readers.frontier(shardId) : lag.position;
      if (at !== undefined) positions.push({ shardId, offset: at });
    }
    return { positions, window: this.#window?.entries() ?? [] };
  }
}

const scratch = new RecordMessage();
const retainedScratch = new RecordMessage();

/** All identifiers of the subscriptions that match. [MQTT5-3.3.4-3] */
function idsOf(
  first: LiveSubscription,
  more: readonly LiveSubscription[] | undefined,
): readonly number[] {
  if (more === undefined) {
    return first.stored.subscriptionId === 0 ? noIds : [first.stored.subscriptionId];
  }
  return [first, ...more].map((one) => one.stored.subscriptionId).filter((id) => id !== 0);
}
