import type { World } from '../world/world.ts';

/** What one record is: who wrote it, and as which of his. */
export interface Mark {
  readonly writer: string;
  readonly sequence: number;
}

interface WriterHistory {
  sent: number;
  /** Offset of each record, once somebody has seen it. */
  readonly offsets: Map<number, number>;
  readonly acknowledged: Set<number>;
}

/**
 * What writers and readers know about one shard. All acknowledgements and reads agree on what stands at an
 * offset, for ever (I2); a record stands at one offset at most (I9), and in the order of its writer; what
 * was appended after an acknowledgement stands behind it (I8); what was acknowledged is there (I1).
 */
export class ShardHistory {
  readonly shardId: number;
  readonly #world: World;
  readonly #writers = new Map<string, WriterHistory>();
  readonly #at: (Mark | undefined)[] = [];
  acknowledged = 0;
  #endAcknowledged = 0;
  #trimMax = 0;

  constructor(shardId: number, world: World) {
    this.shardId = shardId;
    this.#world = world;
  }

  get endAcknowledged(): number {
    return this.#endAcknowledged;
  }

  get trimMax(): number {
    return this.#trimMax;
  }

  trimming(offset: number): void {
    this.#trimMax = Math.max(this.#trimMax, offset);
  }

  /** Told before a record is given away; its sequence. */
  sending(writer: string): number {
    return this.#writer(writer).sent++;
  }

  /** @param floor {@link endAcknowledged} when the append began. */
  acknowledge(mark: Mark, offset: number, floor: number): void {
    if (offset < floor) {
      this.wrong(
        `${nameOf(mark)} got ${offset}, though ${floor - 1} was acknowledged before it began`,
      );
    }
    const writer = this.#writer(mark.writer);
    if (!writer.acknowledged.has(mark.sequence)) this.acknowledged++;
    writer.acknowledged.add(mark.sequence);
    this.#world.explain(() => `shard ${this.shardId}: ${nameOf(mark)} acknowledged at ${offset}`);
    this.#endAcknowledged = Math.max(this.#endAcknowledged, offset + 1);
    this.see(mark, offset, 'acknowledged');
  }

  see(mark: Mark, offset: number, how: string): void {
    const writer = this.#writer(mark.writer);
    if (mark.sequence >= writer.sent) this.wrong(`${how}: ${nameOf(mark)} was never sent`);
    const there = this.#at[offset];
    if (there === undefined) this.#at[offset] = mark;
    else if (there.writer !== mark.writer || there.sequence !== mark.sequence) {
      this.wrong(`${how}: offset ${offset} is ${nameOf(mark)} and was ${nameOf(there)}`);
    }
    const known = writer.offsets.get(mark.sequence);
    if (known === undefined) writer.offsets.set(mark.sequence, offset);
    else if (known !== offset)
      this.wrong(`${how}: ${nameOf(mark)} stands at ${known} and ${offset}`);
  }

  /** After everything from `earliest` to `end` was seen once more. */
  conclude(earliest: number, end: number): void {
    if (earliest > this.#trimMax) {
      this.wrong(`it begins at ${earliest}, but was trimmed to ${this.#trimMax} at most`);
    }
    if (end < this.#endAcknowledged) {
      this.wrong(`it ends at ${end}, but ${this.#endAcknowledged - 1} was acknowledged`);
    }
    this.#checkOrder();
  }

  wrong(violation: string): void {
    this.#world.violate(`shard ${this.shardId}: ${violation}`);
  }

  #checkOrder(): void {
    const last = new Map<string, number>();
    this.#at.forEach((mark, offset) => {
      if (mark === undefined) return;
      const before = last.get(mark.writer) ?? -1;
      if (mark.sequence <= before) this.wrong(`offset ${offset}: ${nameOf(mark)} behind ${before}`);
      last.set(mark.writer, mark.sequence);
    });
  }

  #writer(name: string): WriterHistory {
    let writer = this.#writers.get(name);
    if (writer === undefined) {
      writer = { sent: 0, offsets: new Map(), acknowledged: new Set() };
      this.#writers.set(name, writer);
    }
    return writer;
  }
}

function nameOf({ writer, sequence }: Mark): string {
  return `${writer}/${sequence}`;
}
