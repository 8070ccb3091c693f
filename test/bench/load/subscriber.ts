import { AckWriter } from './ack-writer.ts';
import { encodeSubscribe, packetHeader } from './control-packets.ts';
import type { LatencyHistogram } from './latency-histogram.ts';
import { LoadConnection } from './load-connection.ts';
import type { ConnectionHandler, ConnectionTarget } from './load-connection.ts';
import { type DeliveryFault, type LoadCounters, phases } from './load-counters.ts';
import { type LoadPlan, publishersOf, topicOf } from './load-plan.ts';
import { nowUs, stampOffsets } from './message-stamp.ts';

export interface SubscriberOptions {
  readonly plan: LoadPlan;
  readonly index: number;
  readonly counters: LoadCounters;
  readonly histogram: LatencyHistogram;
  readonly target: ConnectionTarget;
  /** Deliveries were counted. */
  readonly progressed: () => void;
}

/** Counts what it gets, each message checked against the sequence of its publisher. */
export class Subscriber implements ConnectionHandler {
  /** Publishers whose messages it gets. */
  readonly publishers: readonly number[];
  readonly #options: SubscriberOptions;
  readonly #connection: LoadConnection;
  readonly #acks: AckWriter;
  readonly #subscribed = Promise.withResolvers<void>();
  /** Next sequence of each publisher. */
  readonly #expected: Uint32Array;
  /** When the chunk at hand came; 0 before its first message. */
  #chunkUs = 0;
  #measured = false;

  constructor(options: SubscriberOptions) {
    const { plan, index, target } = options;
    this.#options = options;
    this.publishers = publishersOf(plan, index);
    this.#expected = new Uint32Array(plan.publishers);
    const clientId = `bench-${plan.runId}-s${index}`;
    const connect = { version: 4, clientId, keepAliveSeconds: 300 } as const;
    this.#connection = new LoadConnection(target, connect, this);
    this.#acks = new AckWriter(this.#connection);
  }

  /** Resolves once the subscription stands. */
  async ready(): Promise<void> {
    await this.#connection.accepted;
    const { plan, index } = this.#options;
    this.#connection.write(encodeSubscribe(topicOf(plan, index), plan.qos));
    await this.#subscribed.promise;
  }

  packet(header: number, bytes: Buffer, start: number, end: number): void {
    if ((header & 0xf0) === packetHeader.publish) this.#publish(header, bytes, start);
    else if (header === packetHeader.pubrel) {
      this.#acks.add(packetHeader.pubcomp, bytes.readUInt16BE(start));
    } else if (header === packetHeader.suback) this.#suback(bytes[end - 1] ?? 0x80);
    else throw new Error(`subscriber ${this.#options.index} got a packet 0x${header.toString(16)}`);
  }

  chunkEnd(): void {
    this.#acks.flush();
    if (this.#chunkUs === 0) return;
    this.#chunkUs = 0;
    const { counters, index, progressed } = this.#options;
    for (const publisher of this.publishers) {
      counters.setDelivered(index, publisher, this.#expected[publisher] ?? 0);
    }
    progressed();
  }

  lost(reason: string): void {
    throw new Error(`subscriber ${this.#options.index}: ${reason}`);
  }

  close(): void {
    this.#connection.close();
  }

  #publish(header: number, bytes: Buffer, start: number): void {
    if (this.#chunkUs === 0) this.#beginChunk();
    let payload = start + 2 + bytes.readUInt16BE(start);
    const qos = (header >>> 1) & 3;
    if (qos > 0) {
      const answer = qos === 1 ? packetHeader.puback : packetHeader.pubrec;
      this.#acks.add(answer, bytes.readUInt16BE(payload));
      payload += 2;
    }
    this.#check(bytes, payload);
    if (this.#measured) {
      const latencyUs = (this.#chunkUs - bytes.readUInt32LE(payload + stampOffsets.sentUs)) >>> 0;
      this.#options.histogram.record(latencyUs);
    }
  }

  #beginChunk(): void {
    this.#chunkUs = nowUs() || 1;
    this.#measured = this.#options.counters.phase === phases.measured;
  }

  #check(bytes: Buffer, payload: number): void {
    const publisher = bytes.readUInt32LE(payload + stampOffsets.publisher);
    const sequence = bytes.readUInt32LE(payload + stampOffsets.sequence);
    const expected = this.#expected[publisher];
    const run = bytes.readUInt32LE(payload + stampOffsets.run);
    if (expected === undefined || run !== this.#options.plan.runId) {
      this.#fault('foreign', 1);
      return;
    }
    if (sequence < expected) {
      this.#fault('duplicates', 1);
      return;
    }
    if (sequence > expected) this.#fault('skipped', sequence - expected);
    this.#expected[publisher] = sequence + 1;
  }

  #fault(fault: DeliveryFault, count: number): void {
    this.#options.counters.countFault(this.#options.index, fault, count);
  }

  #suback(code: number): void {
    const { index, plan } = this.#options;
    if (code === plan.qos) this.#subscribed.resolve();
    else this.#subscribed.reject(new Error(`subscriber ${index} was granted ${code}`));
  }
}
