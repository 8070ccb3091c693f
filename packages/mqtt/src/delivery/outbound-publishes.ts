import { type Offset, offset, type ShardId } from '@robustmq/core';

import type { Qos } from '../codec/packet.ts';
import type { WindowEntry } from '../session/session-gateway.ts';
import type { DeliveryClient, DeliveryContext } from './delivery-context.ts';
import type { Granted } from './live-subscription.ts';
import { OutboundAliases } from './outbound-aliases.ts';
import type { ProgressSource } from './progress-keeper.ts';
import { SendWindow } from './window.ts';

/** Whoever has to hear what becomes of a message at QoS 1 or 2 besides the session. */
export interface SendOrigin {
  /** At QoS 2: it is the session's for good now, and the packet leaves. */
  stored(shardId: ShardId, offset: Offset): void;
  /** At QoS 1: PUBACK has come. `failed`: the client does not want it. */
  acknowledged(shardId: ShardId, offset: Offset, failed: boolean): void;
  /** Whether the window may forget a QoS 2 message: until then it stays, and {@link OutboundPublishes.forgetHeard} follows. */
  isHeard(shardId: ShardId, offset: Offset): boolean;
  /** It has left the window. */
  left(): void;
}

/** The session whose messages they are. */
export interface OutboundOwner extends ProgressSource {
  /** When its client has connected, in ms since 1970. */
  readonly sinceMs: number;
  /** Its state outlives the connection. */
  readonly durable: boolean;
  /** There is room again, for those who wait and for partitions that lag. */
  roomMade(): void;
}

/**
 * The messages on their way to one client: its window, its packet ids, and the room there is. It sends
 * the message that stands in the shared {@link PacketClasses}.
 */
export class OutboundPublishes {
  readonly #client: DeliveryClient;
  readonly #context: DeliveryContext;
  readonly #owner: OutboundOwner;
  /** Undefined: the client allows none. */
  readonly #aliases: OutboundAliases | undefined;
  #window: SendWindow | undefined;
  /** Packets that wait until the window is stored, in their order: a PUBLISH, or the packet id of a PUBREL. */
  #held: (Buffer | number)[] | undefined;
  /** How many of them the progress holds that is being stored. */
  #covered = 0;
  #waiting: (() => void)[] | undefined;
  /** By packet id. */
  #origins: Map<number, SendOrigin> | undefined;
  /** Packet ids of shared messages in {@link #held}, in the same order, and how many the progress holds. */
  #unstored: number[] = [];
  #unstoredCovered = 0;
  /** Packet ids that PUBCOMP has come for and that may not be forgotten yet. */
  #unheard: Set<number> | undefined;

  constructor(client: DeliveryClient, context: DeliveryContext, owner: OutboundOwner) {
    this.#client = client;
    this.#context = context;
    this.#owner = owner;
    const aliasMax = Math.min(client.topicAliasMaximum, context.limits.outboundTopicAliasesMax);
    if (aliasMax > 0) this.#aliases = new OutboundAliases(aliasMax);
  }

  // ---- room

  /** Whether a QoS 1 or 2 message can be sent now; otherwise the owner hears of room later. */
  get hasRoom(): boolean {
    const { output } = this.#client;
    if (!output.full) return this.#window?.full !== true;
    output.askForRoom();
    return false;
  }

  /** Whether there is room for so much that a read from the log pays. */
  get isRoomy(): boolean {
    const { output } = this.#client;
    if (!output.full) return this.#window?.roomy !== false;
    output.askForRoom();
    return false;
  }

  /** Messages at QoS 1 and 2 that were sent on this connection and are not finished. */
  get inFlight(): number {
    return this.#window?.length ?? 0;
  }

  /** Resolves when something has ended that took room, or the session has ended. */
  waitForRoom(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting ??= [];
      this.#waiting.push(resolve);
    });
  }

  get isAwaited(): boolean {
    return this.#waiting !== undefined;
  }

  wakeWaiters(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    for (const wake of waiting ?? []) wake();
  }

  // ---- sending

  /** Sends at QoS 0, or drops what the socket does not take. */
  sendOnce(granted: Granted, retain: boolean): void {
    if (this.#client.output.full) {
      this.#context.readers.counters.droppedOut++;
      this.#context.drops.count(this.#owner.grant.clientId, 'socket_full');
      if (this.#context.readers.watched) this.#context.readers.dropped();
      return;
    }
    const { readers, writer } = this.#context;
    const { mqtt5, output, packetBytesMax } = this.#client;
    if (this.#aliases !== undefined || (mqtt5 && granted.ids.length > 0)) {
      if (this.#encode(0, granted, retain, this.#aliases) < 0) return;
      writer.takeInto(output);
    } else {
      const shared = readers.classes.packet(mqtt5, 0, retain);
      if (shared.length > packetBytesMax) {
        this.#tooLarge();
        return;
      }
      output.packet(shared);
    }
    readers.counters.publishesOut[0]++;
    if (readers.watched) readers.sent(this.#owner);
  }

  /**
   * Sends at QoS 1 or 2. Only when there is room. Returns the packet id. A message that is larger than the
   * client takes is dropped as if it had been sent [MQTT5-3.1.2-25]: 0 then.
   */
  send(qos: 1 | 2, granted: Granted, retain: boolean, shardId: ShardId, at: number): number {
    // At QoS 2 the entry is stored before the packet leaves: exactly once across brokers. Others may overtake
    // it, so that its alias would come too late for them.
    const isHeld = qos === 2 && this.#owner.durable;
    const packetIdAt = this.#encode(qos, granted, retain, isHeld ? undefined : this.#aliases);
    if (packetIdAt < 0) return 0;
    const { readers, writer, progress } = this.#context;
    this.#window ??= this.#newWindow([]);
    const packetId = this.#window.add(shardId, offset(at), qos);
    writer.patchU16(packetIdAt, packetId);
    readers.counters.publishesOut[qos]++;
    if (readers.watched) readers.sent(this.#owner);
    if (isHeld) {
      this.#hold(writer.take());
      return packetId;
    }
    writer.takeInto(this.#client.output);
    if (this.#owner.durable) progress.later(this.#owner);
    return packetId;
  }

  /** Tells `origin` what becomes of a message that was {@link send | sent} in this turn. */
  follow(packetId: number, origin: SendOrigin): void {
    const entry = this.#window?.get(packetId);
    if (entry === undefined) return;
    this.#origins ??= new Map();
    this.#origins.set(packetId, origin);
    if (entry.qos === 1) return;
    if (this.#owner.durable) this.#unstored.push(packetId);
    else origin.stored(entry.shardId, entry.offset);
  }

  /** Encodes into the turn's writer; returns where the packet id stands, -1: too large for the client. */
  #encode(
    qos: Qos,
    { ids }: Granted,
    retain: boolean,
    aliases: OutboundAliases | undefined,
  ): number {
    const { writer, readers } = this.#context;
    const { mqtt5, packetBytesMax } = this.#client;
    let packetIdAt: number;
    if (aliases !== undefined) {
      packetIdAt = this.#encodeAliased(qos, ids, retain, aliases);
    } else if (mqtt5 && ids.length > 0) {
      packetIdAt = this.#encodeOwn(qos, ids, retain, 0, false);
    } else {
      writer.bytes(readers.classes.packet(mqtt5, qos, retain));
      packetIdAt = readers.classes.packetIdAt(mqtt5, qos, retain);
    }
    if (writer.length <= packetBytesMax) return packetIdAt;
    writer.clear();
    this.#tooLarge();
    return -1;
  }

  #tooLarge(): void {
    const { readers, drops } = this.#context;
    readers.counters.droppedTooLarge++;
    drops.count(this.#owner.grant.clientId, 'too_large');
    if (readers.watched) readers.dropped();
  }

  #encodeAliased(
    qos: Qos,
    ids: readonly number[],
    retain: boolean,
    aliases: OutboundAliases,
  ): number {
    const { writer, readers } = this.#context;
    const { topic } = readers.classes;
    const known = aliases.of(topic);
    if (known > 0) return this.#encodeOwn(qos, ids, retain, known, true);
    const free = aliases.freeFor(topic);
    const packetIdAt = this.#encodeOwn(qos, ids, retain, free, false);
    if (free === 0) return packetIdAt;
    if (writer.length <= this.#client.packetBytesMax) {
      aliases.set(free, topic);
      return packetIdAt;
    }
    // It may fit without.
    writer.clear();
    return this.#encodeOwn(qos, ids, retain, 0, false);
  }

  #encodeOwn(
    qos: Qos,
    subscriptionIds: readonly number[],
    retain: boolean,
    topicAlias: number,
    isAliasKnown: boolean,
  ): number {
    const { writer, readers } = this.#context;
    const own = { qos, retain, dup: false, packetId: 0, subscriptionIds, topicAlias, isAliasKnown };
    return readers.classes.encodeFor(writer, this.#client.mqtt5, own);
  }

  #hold(packet: Buffer | number): void {
    this.#held ??= [];
    this.#held.push(packet);
    if (typeof packet !== 'number') this.#client.output.hold(packet.length);
    this.#context.progress.now(this.#owner);
  }

  // ---- an earlier connection

  /** Takes over what an earlier connection has left. */
  takeOver(entries: readonly WindowEntry[]): void {
    if (entries.length > 0) this.#window = this.#newWindow(entries);
  }

  /** Messages that an earlier connection has left at QoS 2 are not forgotten before `origin` has heard of them. */
  guard(origin: SendOrigin): void {
    for (const { packetId, qos } of this.#window?.entries() ?? []) {
      if (qos !== 2) continue;
      this.#origins ??= new Map();
      this.#origins.set(packetId, origin);
    }
  }

  /** Sends a message of the earlier connection again, with its packet id. [MQTT5-4.4.0-1] */
  sendAgain(entry: WindowEntry, packet: Buffer | undefined): void {
    const { packetId, qos } = entry;
    const window = this.#window;
    if (window?.get(packetId)?.state !== entry.state) return;
    window.sentAgain(packetId);
    if (entry.state === 'released') {
      this.#client.sendPubrel(packetId);
    } else if (packet === undefined) {
      this.#forget(packetId);
      this.#settled();
    } else {
      this.#context.readers.counters.publishesOut[qos]++;
      this.#client.output.packet(packet);
    }
  }

  #newWindow(entries: readonly WindowEntry[]): SendWindow {
    const size = Math.min(this.#client.receiveMaximum, this.#context.limits.windowMax);
    return new SendWindow(size, entries);
  }

  // ---- what the client answers

  /** PUBACK; `failed`: the client does not want it. An unknown packet id is left alone. [MQTT5-4.4.0-2] */
  acknowledged(packetId: number, failed: boolean): void {
    const entry = this.#window?.get(packetId);
    if (entry?.qos !== 1) return;
    this.#origins?.get(packetId)?.acknowledged(entry.shardId, entry.offset, failed);
    this.#forget(packetId);
    this.#settled();
  }

  /** PUBREC; `failed`: the client does not want it. False: unknown packet id. */
  received(packetId: number, failed: boolean): boolean {
    const entry = this.#window?.get(packetId);
    if (entry?.qos !== 2) return false;
    if (failed) {
      this.#finish(packetId);
      return true;
    }
    this.#window?.release(packetId);
    if (this.#owner.durable) this.#hold(packetId);
    else this.#client.sendPubrel(packetId);
    return true;
  }

  /** PUBCOMP. */
  completed(packetId: number): void {
    if (this.#window?.get(packetId)?.state === 'released') this.#finish(packetId);
  }

  /** Ends the messages that waited for their origins. */
  forgetHeard(): void {
    if (this.#unheard === undefined) return;
    const waiting = this.#unheard;
    this.#unheard = undefined;
    for (const packetId of waiting) this.#finish(packetId);
  }

  /** Ends a QoS 2 message, as soon as its origin knows of it. */
  #finish(packetId: number): void {
    const entry = this.#window?.get(packetId);
    if (entry === undefined) return;
    const origin = this.#origins?.get(packetId);
    if (this.#owner.durable && origin?.isHeard(entry.shardId, entry.offset) === false) {
      this.#unheard ??= new Set();
      this.#unheard.add(packetId);
      return;
    }
    this.#forget(packetId);
    this.#settled();
  }

  #forget(packetId: number): void {
    this.#window?.remove(packetId);
    const origin = this.#origins?.get(packetId);
    this.#origins?.delete(packetId);
    origin?.left();
  }

  #settled(): void {
    if (this.#owner.durable) this.#context.progress.later(this.#owner);
    this.#owner.roomMade();
  }

  // ---- progress

  /**
   * The window as it is to be stored now. A message at QoS 1 that has an origin is not the session's: it
   * goes to somebody else when the connection ends.
   */
  stored(): WindowEntry[] {
    this.#covered = this.#held?.length ?? 0;
    this.#unstoredCovered = this.#unstored.length;
    const entries = this.#window?.entries() ?? [];
    const origins = this.#origins;
    if (origins === undefined) return entries;
    return entries.filter(({ qos, packetId }) => qos === 2 || !origins.has(packetId));
  }

  /** What {@link stored} has returned last is stored: the packets that depend on it leave. */
  storedDone(): void {
    for (const packetId of this.#unstored.splice(0, this.#unstoredCovered)) {
      const entry = this.#window?.get(packetId);
      if (entry !== undefined) this.#origins?.get(packetId)?.stored(entry.shardId, entry.offset);
    }
    this.#unstoredCovered = 0;
    const held = this.#held;
    if (held === undefined || this.#covered === 0) return;
    const leaving = held.splice(0, this.#covered);
    if (held.length === 0) this.#held = undefined;
    this.#covered = 0;
    let bytes = 0;
    for (const packet of leaving) {
      if (typeof packet === 'number') {
        this.#client.sendPubrel(packet);
      } else {
        bytes += packet.length;
        this.#client.output.packet(packet);
      }
    }
    this.#client.output.hold(-bytes);
  }
}
