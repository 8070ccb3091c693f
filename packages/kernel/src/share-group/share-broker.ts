import type { Caller, Reply } from '../coordinator/state-machine.ts';
import type { ShareMember } from './share-member.ts';
import { encodeHandedOut, type HandedOut } from './share-message.ts';
import { Delivery } from './share-record.ts';
import type { ShareEntry } from './share-entry.ts';
import type { ShareRecord } from './share-record.ts';

/** Bytes that wait for a broker's next `take`; above it its members have no room. */
const waitingBytesMax = 1024 * 1024;
/** Of one answer; a larger record travels alone. */
const answerBytesMax = 1024 * 1024;
const nothing = Buffer.alloc(0);

/** A record that was given to a member and has not left. */
export interface Outgoing {
  readonly member: ShareMember;
  readonly entry: ShareEntry<ShareRecord>;
  readonly delivery: Delivery;
}

interface Waiting extends Outgoing {
  /** Of the connection that it was given to. */
  readonly number: number;
  readonly attempts: number;
}

/** A broker with members of share groups of one coordinator: what is on its way there. */
export class ShareBroker {
  readonly caller: Caller;
  readonly isLocal: boolean;
  /** By number. */
  readonly members = new Map<number, ShareMember>();
  /** Sequence of its last `join`, `part` or `leave` that was carried out. */
  lastSequence = 0;
  /** Of its last `tell`. */
  lastTold = 0;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #parked: Reply | undefined;
  #parkedAtMs = 0;
  #takeNumber = 0;
  /** The answer to the last `take`, for the case that it was lost. */
  #lastAnswer: Buffer | undefined;

  constructor(caller: Caller, isLocal: boolean) {
    this.caller = caller;
    this.isLocal = isLocal;
  }

  get hasRoom(): boolean {
    return this.#waitingBytes < waitingBytesMax;
  }

  /** Something waits that the broker has asked for. */
  get isDue(): boolean {
    return this.#parked !== undefined && this.#waiting.length > 0;
  }

  give(outgoing: Outgoing): void {
    const { member, entry } = outgoing;
    this.#waiting.push({ ...outgoing, number: member.number, attempts: entry.attempts });
    this.#waitingBytes += bytesOf(entry.payload);
  }

  /** It asks for records. The same number again: the answer was lost. */
  take(number: number, reply: Reply, nowMs: number): void {
    if (number < this.#takeNumber) {
      reply.ok(nothing);
      return;
    }
    if (number === this.#takeNumber && this.#lastAnswer !== undefined) {
      reply.ok(Buffer.from(this.#lastAnswer));
      return;
    }
    // Whoever is parked is asked for no more.
    this.#parked?.ok(nothing);
    this.#parked = reply;
    this.#parkedAtMs = nowMs;
    this.#takeNumber = number;
    this.#lastAnswer = undefined;
  }

  /** Answers what the broker has asked for. Returns whether there is room that was not there before. */
  flush(): boolean {
    if (this.#parked === undefined) return false;
    const hadRoom = this.hasRoom;
    const records: HandedOut[] = [];
    let bytes = 0;
    let taken = 0;
    for (const waiting of this.#waiting) {
      const size = bytesOf(waiting.entry.payload);
      if (taken > 0 && bytes + size > answerBytesMax) break;
      taken++;
      bytes += size;
      if (isStill(waiting)) records.push(handedOut(waiting));
    }
    this.#waiting.splice(0, taken);
    this.#waitingBytes -= bytes;
    if (records.length > 0) this.#answer(encodeHandedOut(records));
    return !hadRoom && this.hasRoom;
  }

  /** Answers with nothing what has waited for so long that the broker might give up. */
  answerOld(beforeMs: number): void {
    if (this.#parked !== undefined && this.#parkedAtMs <= beforeMs) this.#answer(nothing);
  }

  #answer(bytes: Buffer): void {
    const parked = this.#parked;
    this.#parked = undefined;
    this.#lastAnswer = bytes;
    // The payload is given away.
    parked?.ok(bytes.length === 0 ? bytes : Buffer.from(bytes));
  }
}

function bytesOf({ start, end }: ShareRecord): number {
  return end - start;
}

/** Whether the member still has the record: neither has left meanwhile. */
function isStill({ member, number, entry, delivery, attempts }: Waiting): boolean {
  if (!member.isConnected || member.number !== number) return false;
  if (delivery === Delivery.atMostOnce) return true;
  const holder = delivery === Delivery.exactlyOnce ? member.key : member.acquirer;
  const isHeld = entry.state === 'acquired' || entry.state === 'pinned';
  return isHeld && entry.holder === holder && entry.attempts === attempts;
}

function handedOut({ number, entry, delivery }: Waiting): HandedOut {
  return { number, offset: entry.offset, delivery, record: entry.payload };
}
