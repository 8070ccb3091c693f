import { errorTable, shardId as asShard, toOperatingError } from '@robustmq/core';
import type { JournalClient } from '@robustmq/journal-client';
import { noHeaders, RecordBatchWriter } from '@robustmq/record-batch';
import type { SimBroker } from '../cluster/sim-broker.ts';
import type { Place, ShardHistory } from '../../history/shard-history.ts';
import type { World } from '../world/world.ts';
import { whenSettled } from '../world/when-settled.ts';
import { valueOf } from './marks.ts';

/** As many batches as a journal recognises again. */
const outstandingMax = 5;
const recordsMax = 4;
const noFilter = Buffer.alloc(0);
const writer = new RecordBatchWriter();

interface Batch {
  readonly marks: readonly Place[];
  readonly bytes: Buffer;
  isDone: boolean;
}

/** Writes to one shard; whatever it was not told about by the end is missing. */
export interface Producer {
  readonly name: string;
  /** Sends something, if it may. */
  tick(): void;
  /** Its broker has died. */
  brokerDied(broker: SimBroker): void;
  /** Sends nothing new any more. */
  stop(): void;
  /** Does again, with the sequences that it had. */
  goOn(): void;
  /** Batches whose fate it wants to know. */
  readonly waiting: number;
}

/**
 * An idempotent producer outside of the brokers, as a Kafka client is: when its broker dies, or now and
 * then when it is impatient, it sends what is not answered through another one.
 */
export class IdempotentProducer implements Producer {
  readonly name: string;
  readonly #world: World;
  readonly #history: ShardHistory;
  readonly #brokers: readonly SimBroker[];
  readonly #outstanding: Batch[] = [];
  #broker: SimBroker | undefined;
  #brokerLife = 0;
  #producerId: number | undefined;
  #asks = false;
  #sequence = 0;
  #underWay = 0;
  #refused = false;
  #stopped = false;

  constructor(name: string, world: World, history: ShardHistory, brokers: readonly SimBroker[]) {
    this.name = name;
    this.#world = world;
    this.#history = history;
    this.#brokers = brokers;
  }

  get waiting(): number {
    return this.#outstanding.length;
  }

  stop(): void {
    this.#stopped = true;
  }

  goOn(): void {
    this.#stopped = false;
  }

  brokerDied(broker: SimBroker): void {
    if (this.#broker === broker) this.#broker = undefined;
  }

  tick(): void {
    const journal = this.#attached();
    if (journal === undefined) return;
    if (this.#producerId === undefined) {
      this.#askProducerId(journal);
      return;
    }
    if (this.#refused && this.#underWay === 0) {
      this.#refused = false;
      for (const batch of this.#outstanding) this.#submit(journal, batch);
      return;
    }
    if (this.#world.chance(0.03)) this.#hurry();
    if (this.#stopped || this.#refused || this.#outstanding.length >= outstandingMax) return;
    const batch = this.#next(this.#producerId);
    this.#outstanding.push(batch);
    this.#submit(journal, batch);
  }

  /** The journal client of its broker; everything that is not answered goes to a new one first. */
  #attached(): JournalClient | undefined {
    const current = this.#broker;
    if (current?.process.isAlive === true && current.process.life === this.#brokerLife) {
      return current.process.isPaused ? undefined : current.journal;
    }
    const next = this.#world.pick(this.#brokers.filter(({ process }) => process.isAlive));
    if (next?.journal === undefined || next.process.isPaused) return undefined;
    this.#broker = next;
    this.#brokerLife = next.process.life;
    this.#asks = false;
    this.#underWay = 0;
    this.#refused = this.#outstanding.length > 0;
    return next.journal;
  }

  #askProducerId(journal: JournalClient): void {
    if (this.#asks) return;
    this.#asks = true;
    whenSettled(
      journal.newProducerId(),
      (id) => {
        this.#producerId ??= id;
      },
      () => {
        this.#asks = false;
      },
    );
  }

  #next(producerId: number): Batch {
    const count = 1 + Math.floor(this.#world.random.next() * recordsMax);
    const baseSequence = this.#sequence;
    const marks: Place[] = [];
    for (let at = 0; at < count; at++) {
      const mark = { writer: this.name, sequence: this.#history.sending(this.name) };
      marks.push(mark);
      writer.append(1_000, null, valueOf(mark), noHeaders);
    }
    this.#sequence += count;
    const bytes = writer.finish({ producerId, producerEpoch: 0, baseSequence });
    return { marks, bytes: Buffer.from(bytes), isDone: false };
  }

  /** The oldest once more through any broker, as after a timeout of the client. */
  #hurry(): void {
    const [oldest] = this.#outstanding;
    const other = this.#world.pick(this.#brokers)?.journal;
    if (oldest !== undefined && other !== undefined) this.#send(other, oldest, () => {});
  }

  #submit(journal: JournalClient, batch: Batch): void {
    const broker = this.#broker;
    const life = this.#brokerLife;
    this.#underWay++;
    this.#send(journal, batch, (isDone) => {
      if (this.#broker !== broker || this.#brokerLife !== life) return;
      this.#underWay--;
      if (!isDone) this.#refused = true;
    });
  }

  #send(journal: JournalClient, batch: Batch, over: (isDone: boolean) => void): void {
    const { shardId } = this.#history;
    const order = { filter: noFilter, ackLevel: 'quorum', writerEpoch: 0 } as const;
    whenSettled(
      journal.appendBatch({ ...order, shardId: asShard(shardId), batch: Buffer.from(batch.bytes) }),
      ({ baseOffset }) => {
        this.#acknowledged(batch, baseOffset);
        over(true);
      },
      (thrown: unknown) => {
        const { code, message } = toOperatingError(thrown);
        if (code === 'DUPLICATE_SEQUENCE') this.#done(batch);
        else if (!errorTable[code].retriable) {
          this.#history.report('failed', `${this.name} is refused: ${code} ${message}`);
        }
        over(batch.isDone);
      },
    );
  }

  #acknowledged(batch: Batch, baseOffset: number): void {
    // An offset below zero: done, and nobody remembers where.
    if (baseOffset >= 0) {
      batch.marks.forEach((mark, at) => {
        this.#history.acknowledge(mark, baseOffset + at);
      });
    }
    this.#done(batch);
  }

  #done(batch: Batch): void {
    batch.isDone = true;
    const at = this.#outstanding.indexOf(batch);
    if (at >= 0) this.#outstanding.splice(at, 1);
  }
}
