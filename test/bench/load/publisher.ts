import { AckWriter } from './ack-writer.ts';
import { packetHeader } from './control-packets.ts';
import type { LoadCounters } from './load-counters.ts';
import { phases } from './load-counters.ts';
import { LoadConnection } from './load-connection.ts';
import type { ConnectionHandler, ConnectionTarget } from './load-connection.ts';
import { type LoadPlan, subscribersOf } from './load-plan.ts';
import { nowUs } from './message-stamp.ts';
import { packetIdOf, PublishRing } from './publish-ring.ts';

export interface PublisherOptions {
  readonly plan: LoadPlan;
  readonly index: number;
  readonly counters: LoadCounters;
  readonly target: ConnectionTarget;
  /** Something has come that may leave room in the window. */
  readonly progressed: () => void;
}

/** Keeps its window full: sends as soon as a message is done. */
export class Publisher implements ConnectionHandler {
  readonly index: number;
  readonly #plan: LoadPlan;
  readonly #counters: LoadCounters;
  readonly #progressed: () => void;
  readonly #subscribers: readonly number[];
  readonly #ring: PublishRing;
  readonly #connection: LoadConnection;
  readonly #acks: AckWriter;
  #sent = 0;
  #acknowledged = 0;
  #slot = 0;
  #ackSlot = 0;

  constructor(options: PublisherOptions) {
    const { plan, index, counters, target, progressed } = options;
    this.index = index;
    this.#plan = plan;
    this.#counters = counters;
    this.#progressed = progressed;
    this.#subscribers = subscribersOf(plan, index);
    this.#ring = new PublishRing(plan, index);
    const clientId = `bench-${plan.runId}-p${index}`;
    const connect = { version: 4, clientId, keepAliveSeconds: 300 } as const;
    this.#connection = new LoadConnection(target, connect, this);
    this.#acks = new AckWriter(this.#connection);
  }

  async ready(): Promise<void> {
    await this.#connection.accepted;
  }

  /** Sends as many messages as the window has room for. */
  pump(): void {
    if (this.#counters.phase === phases.drain) return;
    const done = this.#counters.done(this.index, this.#subscribers);
    let room = this.#plan.window - (this.#sent - done);
    if (room === 0) return;
    const sentUs = nowUs();
    while (room > 0) {
      const count = Math.min(room, this.#ring.slots - this.#slot);
      const packets = this.#ring.prepare(this.#slot, count, this.#sent, sentUs);
      this.#sent += count;
      room -= count;
      this.#slot = (this.#slot + count) % this.#ring.slots;
      // Before the write: a subscriber in another thread may get the message at once.
      this.#counters.setSent(this.index, this.#sent);
      this.#connection.write(packets);
    }
  }

  packet(header: number, bytes: Buffer, start: number): void {
    switch (header) {
      case packetHeader.pubrec:
        this.#acks.add(packetHeader.pubrel, bytes.readUInt16BE(start));
        return;
      case packetHeader.puback:
      case packetHeader.pubcomp:
        this.#countAck(bytes.readUInt16BE(start));
        return;
      default:
        throw new Error(`publisher ${this.index} got a packet 0x${header.toString(16)}`);
    }
  }

  chunkEnd(): void {
    this.#acks.flush();
    this.#counters.setAcknowledged(this.index, this.#acknowledged);
    this.#progressed();
  }

  lost(reason: string): void {
    throw new Error(`publisher ${this.index}: ${reason}`);
  }

  close(): void {
    this.#connection.close();
  }

  // Acknowledgements come in the order of the publishes. [MQTT-4.6.0-2, -3]
  #countAck(packetId: number): void {
    const expected = packetIdOf(this.#ackSlot);
    if (packetId !== expected) {
      throw new Error(`publisher ${this.index} got an ack of ${packetId} instead of ${expected}`);
    }
    this.#acknowledged++;
    this.#ackSlot = this.#ackSlot + 1 === this.#ring.slots ? 0 : this.#ackSlot + 1;
  }
}
