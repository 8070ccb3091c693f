const violationsKept = 20;

/** Gathers what was wrong; keeps the first ones. */
export class Violations {
  readonly #kept: string[] = [];
  #count = 0;

  add(violation: string): void {
    this.#count++;
    if (this.#kept.length < violationsKept) this.#kept.push(violation);
  }

  list(): readonly string[] {
    const more = this.#count - this.#kept.length;
    return more > 0 ? [...this.#kept, `and ${more} more`] : this.#kept;
  }
}

interface WriterHistory {
  sent: number;
  /** Offset of each acknowledged record, by sequence. */
  readonly acknowledged: Map<number, number>;
  /** Where each record was seen or acknowledged, by sequence. */
  readonly offsets: Map<number, number>;
}

interface Place {
  readonly writer: string;
  readonly sequence: number;
}

/**
 * What writers and readers know about one shard. Every acknowledgement, read and tail has to agree on what
 * stands at an offset, for ever; a record stands at one offset at most; what a writer wrote stands in the
 * order of its writing; whatever was acknowledged and not trimmed is there.
 */
export class ShardHistory {
  readonly shardId: number;
  readonly #violations: Violations;
  readonly #writers = new Map<string, WriterHistory>();
  readonly #places: (Place | undefined)[] = [];
  #acknowledged = 0;
  #endAcknowledged = 0;
  #trimMax = 0;

  constructor(shardId: number, violations: Violations) {
    this.shardId = shardId;
    this.#violations = violations;
  }

  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Behind the last acknowledged record. */
  get endAcknowledged(): number {
    return this.#endAcknowledged;
  }

  /** The highest offset that trimming was asked for: nothing from it on may be missing. */
  get trimMax(): number {
    return this.#trimMax;
  }

  /** Told before a trim is asked for. */
  trimming(offset: number): void {
    this.#trimMax = Math.max(this.#trimMax, offset);
  }

  /** Told before a record is given to the client; its sequence. */
  sending(writer: string): number {
    return this.#writer(writer).sent++;
  }

  acknowledge(place: Place, offset: number): void {
    const { acknowledged } = this.#writer(place.writer);
    const before = acknowledged.get(place.sequence);
    if (before !== undefined) this.#wrong(`${nameOf(place)} was acknowledged twice`);
    acknowledged.set(place.sequence, offset);
    this.#acknowledged++;
    this.#endAcknowledged = Math.max(this.#endAcknowledged, offset + 1);
    this.see(place, offset, 'acknowledged');
  }

  /** A record was read, or acknowledged, at an offset. */
  see(place: Place, offset: number, how: string): void {
    const writer = this.#writer(place.writer);
    if (place.sequence >= writer.sent) this.#wrong(`${how}: ${nameOf(place)} was never sent`);
    const there = this.#places[offset];
    if (there === undefined) this.#places[offset] = place;
    else if (there.writer !== place.writer || there.sequence !== place.sequence) {
      this.#wrong(`${how}: offset ${offset} is ${nameOf(place)} and was ${nameOf(there)}`);
    }
    const known = writer.offsets.get(place.sequence);
    if (known === undefined) writer.offsets.set(place.sequence, offset);
    else if (known !== offset) {
      this.#wrong(`${how}: ${nameOf(place)} stands at ${known} and at ${offset}`);
    }
  }

  /** Something else that is wrong with this shard. */
  report(violation: string): void {
    this.#wrong(violation);
  }

  /** After everything from `earliest` to `end` was read by {@link see}: whether it is all that has to be there. */
  conclude(earliest: number, end: number): void {
    if (earliest > this.#trimMax) {
      this.#wrong(`it begins at ${earliest}, but was trimmed to ${this.#trimMax} at most`);
    }
    if (end < this.#endAcknowledged) {
      this.#wrong(`it ends at ${end}, but ${this.#endAcknowledged - 1} was acknowledged`);
    }
    this.#checkOrder();
    for (const [name, writer] of this.#writers) this.#checkAllThere(name, writer);
  }

  #checkAllThere(name: string, writer: WriterHistory): void {
    if (writer.acknowledged.size === writer.sent) return;
    this.#wrong(`${writer.sent - writer.acknowledged.size} appends of ${name} have no answer`);
  }

  #checkOrder(): void {
    const last = new Map<string, number>();
    this.#places.forEach((place, offset) => {
      if (place === undefined) return;
      const before = last.get(place.writer) ?? -1;
      if (place.sequence <= before) {
        this.#wrong(`offset ${offset}: ${nameOf(place)} stands behind ${before} of that writer`);
      }
      last.set(place.writer, place.sequence);
    });
  }

  #writer(name: string): WriterHistory {
    let writer = this.#writers.get(name);
    if (writer === undefined) {
      writer = { sent: 0, acknowledged: new Map(), offsets: new Map() };
      this.#writers.set(name, writer);
    }
    return writer;
  }

  #wrong(violation: string): void {
    this.#violations.add(`shard ${this.shardId}: ${violation}`);
  }
}

function nameOf({ writer, sequence }: Place): string {
  return `${writer}/${sequence}`;
}
