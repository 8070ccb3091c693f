import { toOperatingError } from '@robustmq/core';
import type { DecodedBatch } from '@robustmq/kernel';

import { RecordMessage } from '../message/record-message.ts';
import type { WindowEntry } from '../session/session-gateway.ts';
import type { DeliveryClient, DeliveryContext } from './delivery-context.ts';
import type { LiveSession } from './live-session.ts';
import { grantedByAll } from './live-subscription.ts';
import { subscriptionsOf, targetOf } from './match-table.ts';
import { readWindow } from './redelivery.ts';

/** Messages of an earlier connection that are read from the log together. */
const sentAgainTogether = 64;

/**
 * Sends again what an earlier connection has left unfinished, with its packet ids and in order. Until that
 * is done, nothing new is sent. [MQTT5-4.4.0-1]
 */
export class Resending {
  readonly #session: LiveSession;
  readonly #client: DeliveryClient;
  readonly #context: DeliveryContext;
  /** Messages in partitions that the catalog does not show yet. */
  readonly #postponed = new Set<WindowEntry>();
  #underWay = 0;

  constructor(session: LiveSession, client: DeliveryClient, context: DeliveryContext) {
    this.#session = session;
    this.#client = client;
    this.#context = context;
  }

  get isUnderWay(): boolean {
    return this.#underWay > 0;
  }

  /** Begins; the session hears of room once it is done. */
  send(window: readonly WindowEntry[]): void {
    void this.#send(window);
  }

  /** The catalog has changed: what stands in partitions that it shows now is sent again. */
  sendPostponed(): void {
    if (this.#postponed.size === 0) return;
    const entries = [...this.#postponed];
    this.#postponed.clear();
    this.send(entries);
  }

  async #send(window: readonly WindowEntry[]): Promise<void> {
    this.#underWay++;
    try {
      await this.#sendAgain(window);
    } catch (thrown) {
      this.#client.failed(toOperatingError(thrown));
      return;
    }
    this.#underWay--;
    if (!this.#session.ended && !this.isUnderWay) this.#session.roomMade();
  }

  async #sendAgain(entries: readonly WindowEntry[]): Promise<void> {
    const { outbound } = this.#session;
    for (let at = 0; at < entries.length; at += sentAgainTogether) {
      const together = entries.slice(at, at + sentAgainTogether);
      const packets = new Map<number, Buffer>();
      const found = new Set<WindowEntry>();
      await readWindow(this.#context.log, together, (batch, same) => {
        for (const entry of same) found.add(entry);
        this.#encodeAgain(batch, same, packets);
      });
      for (const entry of together) {
        if (this.#postponed.has(entry)) continue;
        while (!this.#session.ended && !outbound.hasRoom) await outbound.waitForRoom();
        if (this.#session.ended) return;
        if (entry.state === 'sent' && !found.has(entry)) this.#session.missed(entry.shardId, 1);
        outbound.sendAgain(entry, packets.get(entry.packetId));
      }
    }
  }

  #encodeAgain(
    batch: DecodedBatch,
    entries: readonly WindowEntry[],
    packets: Map<number, Buffer>,
  ): void {
    const { writer, readers } = this.#context;
    const [{ shardId } = { shardId: batch.shardId }] = entries;
    const table = readers.tableOfShard(shardId);
    if (table === undefined) {
      // It is in the log, so its topic lives: the catalog here is older than that of the earlier broker.
      for (const entry of entries) this.#postponed.add(entry);
      return;
    }
    const match = table.of(batch.cursor);
    scratch.read(batch.cursor);
    // It was sent before, so it does not expire any more. [MQTT5-4.3.3-7, -4.3.3-13]
    readers.startMessage(match, scratch, Math.max(1, readers.secondsLeft(scratch, batch)));
    const own = targetOf(match, this.#session);
    const granted = own && grantedByAll(subscriptionsOf(own));
    const at = batch.baseOffset + batch.cursor.offsetDelta;
    // What is older than its subscriptions was the answer to one of them. [MQTT-3.3.1-8]
    const isAnswer =
      own !== undefined && subscriptionsOf(own).every((one) => !one.takes(shardId, at));
    const keepsRetain = isAnswer || granted?.retainAsPublished === true;
    for (const { packetId, qos } of entries) {
      if (own === undefined && !this.#session.maySendAgain(match.name, qos)) continue;
      readers.classes.encodeFor(writer, this.#client.mqtt5, {
        qos,
        retain: keepsRetain && scratch.retain,
        dup: true,
        packetId,
        subscriptionIds: granted?.ids ?? [],
        // It is sent when there is room: what the client knows by then is not known now.
        topicAlias: 0,
        isAliasKnown: false,
      });
      // The client may take less now than it did. [MQTT5-3.1.2-25]
      if (writer.length > this.#client.packetBytesMax) writer.clear();
      else packets.set(packetId, Buffer.from(writer.take()));
    }
  }
}

const scratch = new RecordMessage();
