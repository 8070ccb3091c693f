import { type Offset, type OperatingError, type ShardId, shardId } from '@robustmq/core';
import {
  copyOfRecord,
  Delivery,
  type ShareArrival,
  type ShareMembership,
  type ShareReceiver,
} from '@robustmq/kernel';
import { RecordCursor } from '@robustmq/record-batch';

import type { Qos } from '../codec/packet.ts';
import type { DeliveryClient, DeliveryContext } from '../delivery/delivery-context.ts';
import type { Granted } from '../delivery/live-subscription.ts';
import type { OutboundPublishes, SendOrigin } from '../delivery/outbound-publishes.ts';
import { RecordMessage } from '../message/record-message.ts';
import type { SessionGrant, SessionSubscription } from '../session/session-gateway.ts';

/** The session of a shared subscription. */
export interface SharedOwner {
  readonly grant: SessionGrant;
  readonly durable: boolean;
  readonly ended: boolean;
  /** Whether something may be sent now; if not, the owner hears of room later. */
  readonly takesReliable: boolean;
  readonly outbound: OutboundPublishes;
  /** Whether the rules let everything be delivered that matches; what is shared is not looked at by name. */
  mayShare(filter: string, qos: Qos): boolean;
}

/** A message that waits for room. */
type Kept = Omit<ShareArrival, 'cursor' | 'number'> & { readonly batch: Buffer };

const message = new RecordMessage();
const keptCursor = new RecordCursor();
const noIds: readonly number[] = [];

/**
 * A shared subscription of a connected session: takes what its group gives it and answers for it. What
 * finds no room waits here; the group gives no more than the room that was granted.
 */
export class SharedSubscription implements ShareReceiver, SendOrigin {
  #stored: SessionSubscription;
  #granted: Granted;
  #membership: ShareMembership | undefined;
  readonly #owner: SharedOwner;
  readonly #client: DeliveryClient;
  readonly #context: DeliveryContext;
  /** In the order in which they came. */
  #kept: Kept[] = [];

  constructor(
    stored: SessionSubscription,
    owner: SharedOwner,
    ports: { readonly client: DeliveryClient; readonly context: DeliveryContext },
  ) {
    this.#stored = stored;
    this.#granted = grantedBy(stored);
    this.#owner = owner;
    this.#client = ports.client;
    this.#context = ports.context;
  }

  /** Messages wait for room. */
  get waits(): boolean {
    return this.#kept.length > 0;
  }

  get subscription(): SessionSubscription {
    return this.#stored;
  }

  get qos(): Qos {
    return this.#granted.qos;
  }

  set membership(membership: ShareMembership) {
    this.#membership = membership;
  }

  /** Takes other options from now on. [MQTT5-3.8.4-3] */
  async replace(stored: SessionSubscription): Promise<void> {
    this.#stored = stored;
    this.#granted = grantedBy(stored);
    await this.#membership?.setDelivery(stored.qos);
  }

  /** Sends what has waited, as far as there is room. */
  roomMade(): void {
    let sent = 0;
    for (const kept of this.#kept) {
      if (this.#owner.ended || !this.#owner.takesReliable) break;
      keptCursor.reset(kept.batch);
      keptCursor.next();
      if (!this.#send(kept, keptCursor)) break;
      sent++;
    }
    this.#kept.splice(0, sent);
  }

  /** The connection has ended, or the subscription: resolves when its group knows. */
  async end(kind: 'part' | 'leave'): Promise<void> {
    // Nothing of them has left: another session may have them.
    for (const kept of this.#kept) {
      if (kept.delivery === Delivery.exactlyOnce) {
        this.#membership?.answer(shardId(kept.shardId), kept.offset, 'released');
      }
    }
    this.#kept = [];
    await (kind === 'part' ? this.#membership?.part() : this.#membership?.leave());
  }

  // ShareReceiver

  arrived(arrival: ShareArrival): void {
    const isFree = this.#kept.length === 0 && this.#owner.takesReliable;
    if (isFree && this.#send(arrival, arrival.cursor)) return;
    const { shardId: id, offset: at, delivery, appendTimeMs, cursor } = arrival;
    const batch = copyOfRecord(cursor);
    this.#kept.push({ shardId: id, offset: at, delivery, appendTimeMs, batch });
  }

  heard(): void {
    this.#owner.outbound.forgetHeard();
  }

  lost(error: OperatingError): void {
    this.#client.failed(error);
  }

  // SendOrigin

  /** From here on the session has it, whatever becomes of the connection. [MQTT5-4.8.2-4, -4.8.2-5] */
  stored(id: ShardId, at: Offset): void {
    this.#membership?.answer(id, at, 'accepted');
  }

  acknowledged(id: ShardId, at: Offset, failed: boolean): void {
    // A message that the client does not want is nobody else's. [MQTT5-4.8.2-6]
    this.#membership?.answer(id, at, failed ? 'rejected' : 'accepted');
  }

  isHeard(id: ShardId, at: Offset): boolean {
    return this.#membership?.isHeard(id, at) !== false;
  }

  left(): void {
    this.#membership?.roomMade(1);
  }

  /** False: it cannot be sent yet, its topic is not known here. */
  #send(record: Omit<Kept, 'batch'>, cursor: RecordCursor): boolean {
    const { readers } = this.#context;
    const id = shardId(record.shardId);
    const match = readers.tableOfShard(id)?.of(cursor);
    if (match === undefined) return false;
    if (match.name === undefined) {
      this.#done(record, 'rejected');
      return true;
    }
    message.read(cursor);
    const left = readers.secondsLeft(message, record);
    if (left <= 0) {
      // It waited for too long, and nothing of it has left. [MQTT5-3.3.2-5]
      readers.counters.droppedExpired++;
      this.#done(record, 'rejected');
      return true;
    }
    readers.startMessage(match, message, left);
    const granted = this.#granted;
    const retain = granted.retainAsPublished && message.retain;
    const qos = Math.min(record.delivery, granted.qos) as Qos;
    const { outbound } = this.#owner;
    if (qos === 0) {
      outbound.sendOnce(granted, retain);
      this.#done(record, 'accepted');
      return true;
    }
    const packetId = outbound.send(qos, granted, retain, id, record.offset);
    // Too large for this client: dropped as if it had been sent. [MQTT5-3.1.2-25]
    if (packetId === 0) this.#done(record, 'rejected');
    else outbound.follow(packetId, this);
    return true;
  }

  #done(record: Omit<Kept, 'batch'>, outcome: 'accepted' | 'rejected'): void {
    if (record.delivery !== Delivery.atMostOnce) {
      this.#membership?.answer(shardId(record.shardId), record.offset, outcome);
    }
    this.#membership?.roomMade(1);
  }
}

function grantedBy({ qos, retainAsPublished, subscriptionId }: SessionSubscription): Granted {
  return { qos, retainAsPublished, ids: subscriptionId === 0 ? noIds : [subscriptionId] };
}
