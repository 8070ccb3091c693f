import { encodePublish } from './control-packets.ts';
import { type LoadPlan, topicOf } from './load-plan.ts';
import { payloadBytesMin, stampOffsets } from './message-stamp.ts';

/**
 * A publisher's packets, encoded beforehand: one slot for each message of the window, with its own
 * packet id. A slot is used again once its message is done, so its bytes have left by then and a
 * write needs no copy.
 */
export class PublishRing {
  readonly slots: number;
  readonly #bytes: Buffer;
  readonly #slotBytes: number;
  readonly #payloadAt: number;

  constructor(plan: LoadPlan, publisher: number) {
    if (plan.payloadBytes < payloadBytesMin) {
      throw new RangeError(`payloads of ${plan.payloadBytes} bytes: ${payloadBytesMin} are needed`);
    }
    const payload = Buffer.alloc(plan.payloadBytes, 'x');
    payload.writeUInt32LE(plan.runId, stampOffsets.run);
    payload.writeUInt32LE(publisher, stampOffsets.publisher);
    const topic = topicOf(plan, publisher);
    const packets = Array.from({ length: plan.window }, (_, slot) =>
      encodePublish(topic, plan.qos, packetIdOf(slot), payload),
    );
    this.slots = plan.window;
    this.#bytes = Buffer.concat(packets);
    this.#slotBytes = this.#bytes.length / plan.window;
    this.#payloadAt = this.#slotBytes - plan.payloadBytes;
  }

  /** Numbers and stamps `count` packets from `slot` on; returns them as they go to the socket. */
  prepare(slot: number, count: number, firstSequence: number, sentUs: number): Buffer {
    const begin = slot * this.#slotBytes;
    const end = begin + count * this.#slotBytes;
    let sequence = firstSequence;
    for (let at = begin + this.#payloadAt; at < end; at += this.#slotBytes) {
      this.#bytes.writeUInt32LE(sequence++, at + stampOffsets.sequence);
      this.#bytes.writeUInt32LE(sentUs, at + stampOffsets.sentUs);
    }
    return this.#bytes.subarray(begin, end);
  }
}

export function packetIdOf(slot: number): number {
  return slot + 1;
}
