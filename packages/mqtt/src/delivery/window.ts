import type { Offset, ShardId } from '@robustmq/core';

import type { WindowEntry } from '../session/session-gateway.ts';

type MutableEntry = { -readonly [K in keyof WindowEntry]: WindowEntry[K] };

/**
 * The QoS 1 and 2 messages under way to one client, by packet id, in the order of sending.
 * Invariant S3: an id is in it at most once and is free again only after PUBACK or PUBCOMP.
 */
export class SendWindow {
  readonly #entries = new Map<number, MutableEntry>();
  readonly #size: number;
  #lastPacketId = 0;
  /** Packet ids of an earlier connection that were not sent again on this one. */
  #unsent: Set<number> | undefined;

  /**
   * `size`: most messages at a time. Entries of an earlier connection may exceed it: they count once
   * they are sent again. [MQTT5-3.3.4-9]
   */
  constructor(size: number, entries: readonly WindowEntry[]) {
    this.#size = size;
    for (const entry of entries) {
      this.#entries.set(entry.packetId, { ...entry });
      this.#lastPacketId = Math.max(this.#lastPacketId, entry.packetId);
    }
    if (entries.length > 0) this.#unsent = new Set(this.#entries.keys());
  }

  /** Messages that the client has not finished, without those that it was not sent again yet. */
  get length(): number {
    return this.#entries.size - (this.#unsent?.size ?? 0);
  }

  get full(): boolean {
    return this.length >= this.#size;
  }

  /** So much is free that reading for it pays. */
  get roomy(): boolean {
    return this.length <= Math.floor(this.#size / 2);
  }

  /** Takes a free packet id for a message. Only when not {@link full}. */
  add(shardId: ShardId, offset: Offset, qos: 1 | 2): number {
    let packetId = this.#lastPacketId;
    do packetId = packetId === 0xffff ? 1 : packetId + 1;
    while (this.#entries.has(packetId));
    this.#lastPacketId = packetId;
    this.#entries.set(packetId, { packetId, shardId, offset, qos, state: 'sent' });
    return packetId;
  }

  get(packetId: number): WindowEntry | undefined {
    return this.#entries.get(packetId);
  }

  /** A message of an earlier connection is sent again now. */
  sentAgain(packetId: number): void {
    this.#unsent?.delete(packetId);
    if (this.#unsent?.size === 0) this.#unsent = undefined;
  }

  /** PUBREC came: PUBREL is owed. */
  release(packetId: number): void {
    const entry = this.#entries.get(packetId);
    if (entry !== undefined) entry.state = 'released';
  }

  /** Whether there was such a message. */
  remove(packetId: number): boolean {
    this.sentAgain(packetId);
    return this.#entries.delete(packetId);
  }

  /** As it is stored: copies, in the order of sending. */
  entries(): WindowEntry[] {
    return Array.from(this.#entries.values(), (entry) => ({ ...entry }));
  }
}
