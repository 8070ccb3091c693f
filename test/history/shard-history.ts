import { NumberColumn } from './number-column.ts';
import type { ViolationKind, ViolationSink } from './violations.ts';

interface WriterHistory {
  readonly name: string;
  readonly number: number;
  sent: number;
  acknowledged: number;
  /** Where each record was seen or acknowledged, by sequence. */
  readonly offsets: NumberColumn;
  /** The end that was acknowledged when the append began, of those that have no answer yet. */
  readonly floors: Map<number, number>;
  /** Sequences that were refused for good: nobody may ever read them. */
  readonly refused: Set<number>;
}

/**
 * `once`: each append has one answer in the end. `any`: none when whoever waited for it has died, several
 * when it was sent again.
 */
export type Answers = 'once' | 'any';

/** What one record is: who wrote it, and as which of his. */
export interface Place {
  readonly writer: string;
  readonly sequence: number;
}

/**
 * What writers and readers know about one shard. Every acknowledgement, read and tail has to agree on what
 * stands at an offset, for ever; a record stands at one offset at most; what a writer wrote stands in the
 * order of its writing; an append that began after another was acknowledged stands behind it; whatever was
 * acknowledged or read and not trimmed is there in the end, and nothing that was refused ever is.
 *
 * Takes the events as they happen, each in constant time; 12 bytes for each record, at most 16 Mi of them.
 */
export class ShardHistory {
  readonly shardId: number;
  readonly #violations: ViolationSink;
  readonly #answers: Answers;
  readonly #writers = new Map<string, WriterHistory>();
  readonly #byNumber: WriterHistory[] = [];
  /** What stands at each offset. */
  readonly #writerAt = new NumberColumn();
  readonly #sequenceAt = new NumberColumn();
  #acknowledged = 0;
  #endAcknowledged = 0;
  #trimMax = 0;

  constructor(shardId: number, violations: ViolationSink, answers: Answers = 'once') {
    this.shardId = shardId;
    this.#violations = violations;
    this.#answers = answers;
  }

  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Behind the last acknowledged record. */
  get endAcknowledged(): number {
    return this.#endAcknowledged;
  }

  /** Behind the last record that anybody has seen: in the end a reader has to get as far. */
  get endSeen(): number {
    return this.#sequenceAt.length;
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
    const history = this.#writer(writer);
    history.floors.set(history.sent, this.#endAcknowledged);
    return history.sent++;
  }

  acknowledge(place: Place, offset: number): void {
    const writer = this.#writer(place.writer);
    const isNew = writer.floors.has(place.sequence);
    if (!isNew && place.sequence < writer.sent && this.#answers === 'once') {
      this.#wrong('duplicated', `${nameOf(place)} was acknowledged twice`);
    }
    this.see(place, offset, 'acknowledged');
    if (!isNew) return;
    writer.floors.delete(place.sequence);
    writer.acknowledged++;
    this.#acknowledged++;
    this.#endAcknowledged = Math.max(this.#endAcknowledged, offset + 1);
  }

  /** The journal said for sure that it did not take the record. */
  refuse(place: Place): void {
    const writer = this.#writer(place.writer);
    const offset = writer.offsets.get(place.sequence);
    if (offset !== undefined)
      this.#wrong('uncommitted', `${nameOf(place)} was refused and stands at ${offset}`);
    writer.floors.delete(place.sequence);
    writer.refused.add(place.sequence);
  }

  /** A record was read, or acknowledged, at an offset. */
  see(place: Place, offset: number, how: string): void {
    const writer = this.#writer(place.writer);
    const { sequence } = place;
    if (sequence >= writer.sent) {
      this.#wrong('uncommitted', `${how}: ${nameOf(place)} was never sent`);
      return;
    }
    if (writer.refused.has(sequence))
      this.#wrong('uncommitted', `${how}: ${nameOf(place)} was refused`);
    const floor = writer.floors.get(sequence) ?? 0;
    if (offset < floor) {
      const before = `${floor - 1} was acknowledged before its append began`;
      this.#wrong('realTime', `${how}: ${nameOf(place)} stands at ${offset}, but ${before}`);
    }
    const there = this.#at(offset);
    if (there === undefined) {
      this.#writerAt.set(offset, writer.number);
      this.#sequenceAt.set(offset, sequence);
    } else if (there.writer !== place.writer || there.sequence !== sequence) {
      this.#wrong(
        'changed',
        `${how}: offset ${offset} is ${nameOf(place)} and was ${nameOf(there)}`,
      );
    }
    const known = writer.offsets.get(sequence);
    if (known === undefined) writer.offsets.set(sequence, offset);
    else if (known !== offset) {
      this.#wrong('duplicated', `${how}: ${nameOf(place)} stands at ${known} and at ${offset}`);
    }
  }

  /** Something else that is wrong with this shard. */
  report(kind: ViolationKind, violation: string): void {
    this.#wrong(kind, violation);
  }

  /** After everything from `earliest` to `end` was read by {@link see}: whether it is all that has to be there. */
  conclude(earliest: number, end: number): void {
    if (earliest > this.#trimMax) {
      this.#wrong('lost', `it begins at ${earliest}, but was trimmed to ${this.#trimMax} at most`);
    }
    if (end < this.#endAcknowledged) {
      this.#wrong('lost', `it ends at ${end}, but ${this.#endAcknowledged - 1} was acknowledged`);
    }
    const seen = this.endSeen;
    if (end < seen)
      this.#wrong(
        'uncommitted',
        `it ends at ${end}, but ${seen - 1} was read: it was not committed`,
      );
    this.#checkOrder(earliest, end);
    if (this.#answers === 'any') return;
    for (const writer of this.#byNumber) {
      const answers = writer.acknowledged + writer.refused.size;
      if (answers === writer.sent) continue;
      this.#wrong('failed', `${writer.sent - answers} appends of ${writer.name} have no answer`);
    }
  }

  #checkOrder(earliest: number, end: number): void {
    const last = this.#byNumber.map(() => -1);
    let unread = 0;
    for (let offset = 0; offset < this.#sequenceAt.length; offset++) {
      const number = this.#writerAt.get(offset);
      const sequence = this.#sequenceAt.get(offset);
      if (number === undefined || sequence === undefined) {
        if (offset >= earliest && offset < end) unread++;
        continue;
      }
      const before = last[number] ?? -1;
      if (sequence <= before) {
        const place = { writer: this.#byNumber[number]?.name ?? '', sequence };
        this.#wrong(
          'reordered',
          `offset ${offset}: ${nameOf(place)} stands behind ${before} of that writer`,
        );
      }
      last[number] = sequence;
    }
    if (unread > 0) this.#wrong('gap', `${unread} offsets before the end were never read`);
  }

  #at(offset: number): Place | undefined {
    const writer = this.#writerAt.get(offset);
    const sequence = this.#sequenceAt.get(offset);
    if (writer === undefined || sequence === undefined) return undefined;
    return { writer: this.#byNumber[writer]?.name ?? '', sequence };
  }

  #writer(name: string): WriterHistory {
    let writer = this.#writers.get(name);
    if (writer === undefined) {
      writer = {
        name,
        number: this.#byNumber.length,
        sent: 0,
        acknowledged: 0,
        offsets: new NumberColumn(),
        floors: new Map(),
        refused: new Set(),
      };
      this.#writers.set(name, writer);
      this.#byNumber.push(writer);
    }
    return writer;
  }

  #wrong(kind: ViolationKind, violation: string): void {
    this.#violations.add(kind, `shard ${this.shardId}: ${violation}`);
  }
}

function nameOf({ writer, sequence }: Place): string {
  return `${writer}/${sequence}`;
}
