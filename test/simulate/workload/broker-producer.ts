import { shardId as asShard } from '@robustmq/core';
import type { PendingBatch } from '@robustmq/journal-client';
import { noHeaders } from '@robustmq/record-batch';
import type { SimBroker } from '../cluster/sim-broker.ts';
import type { Place, ShardHistory } from '../../history/shard-history.ts';
import type { World } from '../world/world.ts';
import { valueOf } from './marks.ts';
import type { Producer } from './producer.ts';

const waitingMax = 40;
const noTokens = new Uint32Array(0);

/** Records that a broker gathers for its clients; when it dies nobody waits for them any more. */
export class BrokerProducer implements Producer {
  readonly name: string;
  readonly #world: World;
  readonly #history: ShardHistory;
  readonly #broker: SimBroker;
  #life = 0;
  #waiting = 0;
  #stopped = false;

  constructor(name: string, world: World, history: ShardHistory, broker: SimBroker) {
    this.name = name;
    this.#world = world;
    this.#history = history;
    this.#broker = broker;
  }

  get waiting(): number {
    return this.#waiting;
  }

  stop(): void {
    this.#stopped = true;
  }

  goOn(): void {
    this.#stopped = false;
  }

  brokerDied(broker: SimBroker): void {
    if (broker === this.#broker) this.#waiting = 0;
  }

  tick(): void {
    const { process, journal } = this.#broker;
    if (this.#stopped || journal === undefined || process.isPaused) return;
    if (process.life !== this.#life) {
      this.#life = process.life;
      this.#waiting = 0;
    }
    const appender = journal.appender(asShard(this.#history.shardId));
    const records = 1 + Math.floor(this.#world.random.next() * 4);
    for (let at = 0; at < records && this.#waiting < waitingMax; at++) {
      const writer = `${this.name}-${process.life}`;
      const mark = { writer, sequence: this.#history.sending(writer) };
      const record = {
        timestampMs: 1_000,
        key: null,
        value: valueOf(mark),
        headers: noHeaders,
        filterTokens: noTokens,
      };
      const batch = appender.append(record, 'quorum');
      if (batch === undefined) return;
      this.#await(batch, batch.recordCount - 1, mark);
    }
  }

  #await(batch: PendingBatch, index: number, mark: Place): void {
    const { life } = this.#broker.process;
    this.#waiting++;
    batch.addListener({
      batchSettled: ({ state, baseOffset, error }) => {
        if (life !== this.#broker.process.life) return;
        this.#waiting--;
        if (state === 'acknowledged') this.#history.acknowledge(mark, baseOffset + index);
        else
          this.#history.report(
            'failed',
            `${mark.writer} is refused: ${error?.code} ${error?.message}`,
          );
      },
    });
  }
}
