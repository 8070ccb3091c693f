/** Bytes of the property: a name that has no more is sent as it is. */
const aliasBytes = 3;
/** Longer names get no alias, so that a client's table is small. */
const nameBytesMax = 1024;

interface Slot {
  topic: string;
  /** Was set or sent since the hand passed. */
  isUsed: boolean;
}

/**
 * The topic aliases that one client knows by this connection. The first topics get one each; then a topic
 * gets that of another which was not sent since it was last looked at, so that many topics which are sent
 * in turn do not take them from each other. [MQTT5-3.1.2-26, -3.3.2-7, -3.3.2-11]
 */
export class OutboundAliases {
  readonly #max: number;
  readonly #aliasOf = new Map<string, number>();
  /** Alias n is slot n - 1. */
  readonly #slots: Slot[] = [];
  #hand = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** The alias that the client knows for a topic; 0: none. */
  of(topic: Buffer): number {
    const alias = this.#aliasOf.get(topic.toString('latin1')) ?? 0;
    const slot = this.#slots[alias - 1];
    if (slot !== undefined) slot.isUsed = true;
    return alias;
  }

  /** An alias that a topic without one may have now; 0: none. It is its own after {@link set}. */
  freeFor(topic: Buffer): number {
    if (topic.length <= aliasBytes || topic.length > nameBytesMax) return 0;
    if (this.#slots.length < this.#max) return this.#slots.length + 1;
    const at = this.#hand;
    this.#hand = (at + 1) % this.#max;
    const slot = this.#slots[at];
    if (slot?.isUsed === true) {
      slot.isUsed = false;
      return 0;
    }
    return at + 1;
  }

  /** A packet that gives the topic that alias is on its way. */
  set(alias: number, topic: Buffer): void {
    const name = topic.toString('latin1');
    const replaced = this.#slots[alias - 1];
    if (replaced !== undefined) this.#aliasOf.delete(replaced.topic);
    this.#slots[alias - 1] = { topic: name, isUsed: true };
    this.#aliasOf.set(name, alias);
  }
}
