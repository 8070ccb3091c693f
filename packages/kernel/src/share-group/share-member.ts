import type { Candidate } from './member-choice.ts';
import type { ShareBroker } from './share-broker.ts';
import type { Delivery } from './share-record.ts';

/** Bytes that a member may have without having answered for them; one record it may have always. */
const memberBytesMax = 1024 * 1024;

/** No key begins with it: who acquires and who pins are told apart by it. */
export const acquirerPrefix = '\0';

/** A member of a share group, as its coordinator knows it. */
export class ShareMember implements Candidate {
  readonly groupId: string;
  readonly key: string;
  epoch: number;
  /** Its session outlives its connection: it stays a member. */
  durable = false;
  delivery: Delivery = 0;
  /** Sequence of the broker's `join` that its connection comes from. */
  joinSequence = 0;
  /** The connection; undefined while it has none. */
  #broker: ShareBroker | undefined;
  #number = 0;
  #room = 0;
  #bytes = 0;

  constructor(groupId: string, key: string, epoch: number) {
    this.groupId = groupId;
    this.key = key;
    this.epoch = epoch;
  }

  get broker(): ShareBroker | undefined {
    return this.#broker;
  }

  get isConnected(): boolean {
    return this.#broker !== undefined;
  }

  /** Of its connection: no other one of this ownership has it. */
  get number(): number {
    return this.#number;
  }

  /** Who holds what it has acquired: that ends with the connection. */
  get acquirer(): string {
    return `${acquirerPrefix}${this.#number}`;
  }

  get isLocal(): boolean {
    return this.#broker?.isLocal === true;
  }

  get hasRoom(): boolean {
    if (this.#room <= 0 || this.#broker?.hasRoom !== true) return false;
    return this.#bytes < memberBytesMax;
  }

  connected(broker: ShareBroker, number: number, room: number): void {
    this.#broker = broker;
    this.#number = number;
    this.#room = room;
    this.#bytes = 0;
    broker.members.set(number, this);
  }

  disconnected(): void {
    this.#broker?.members.delete(this.#number);
    this.#broker = undefined;
    this.#room = 0;
  }

  /** It gets a record; `bytes` until it has answered. */
  given(bytes: number): void {
    this.#room--;
    this.#bytes += bytes;
  }

  answered(bytes: number): void {
    this.#bytes -= bytes;
  }

  roomMade(count: number): void {
    this.#room += count;
  }
}
