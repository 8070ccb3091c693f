import { offset as asOffset, shardId as asShard } from '@robustmq/core';
import { createJournalClient, type JournalClient } from '@robustmq/journal-client';
import { PlacementClient } from '@robustmq/placement-client';
import type { SimNetwork } from '../network/sim-network.ts';
import { seeFrames } from '../workload/marks.ts';
import type { ShardHistory } from '../../history/shard-history.ts';
import { SimProcess } from '../world/sim-process.ts';
import { worldLogger } from '../world/world-logger.ts';
import type { PlacementGroup } from './placement-group.ts';

const againMs = 1_000;

/** What a broker has of the journal tier, on a machine of its own, with a tail on each shard. */
export class SimBroker {
  readonly process: SimProcess;
  readonly #network: SimNetwork;
  readonly #placement: PlacementGroup;
  readonly #histories: readonly ShardHistory[];
  /** Up to where each tail has come. */
  readonly tailed = new Map<number, number>();
  journal: JournalClient | undefined;
  placement: PlacementClient | undefined;

  constructor(
    name: string,
    network: SimNetwork,
    placement: PlacementGroup,
    histories: readonly ShardHistory[],
  ) {
    this.process = new SimProcess(name, network.world);
    this.#network = network;
    this.#placement = placement;
    this.#histories = histories;
  }

  start(): void {
    const { process } = this;
    process.begin();
    const { clock, name } = process;
    const transport = this.#network.transportOf(process);
    const random = process.newRandom();
    const common = { transport, clock, random };
    const placement = new PlacementClient({
      ...common,
      placement: this.#placement.addresses,
      nodeId: name,
      logger: worldLogger(process),
    });
    placement.start();
    this.placement = placement;
    const { catalog } = placement;
    this.journal = createJournalClient({ ...common, catalog, placement });
    for (const history of this.#histories) this.#follow(history, this.journal, history.trimMax);
  }

  kill(): void {
    this.journal = undefined;
    this.placement = undefined;
    this.process.die('is killed');
    this.#network.died(this.process.name, false);
  }

  #follow(history: ShardHistory, journal: JournalClient, fromOffset: number): void {
    const { shardId } = history;
    let from = fromOffset;
    this.tailed.set(shardId, from);
    journal.tail(
      asShard(shardId),
      { fromOffset: asOffset(from), readCommitted: false },
      {
        frames: (frames, next, highWatermark) => {
          seeFrames(history, frames, from, next);
          if (next > from && next > highWatermark)
            history.report('uncommitted', `a tail got ${next} above ${highWatermark}`);
          from = next;
          this.tailed.set(shardId, next);
          return true;
        },
        failed: (error) => {
          if (error.code === 'OFFSET_OUT_OF_RANGE') {
            const { earliestOffset: earliest } = error.hint;
            const isTooLate = earliest !== undefined && earliest > history.trimMax;
            // A tail that begins behind the end of an old copy's chain is told so: it comes back.
            if (this.#placement.hasRunOldStore && !isTooLate) {
              this.process.schedule(againMs, 'timer', () => this.#follow(history, journal, from));
            } else if (earliest === undefined || isTooLate || earliest <= from) {
              history.report(
                'failed',
                `a tail at ${from} is told to begin at ${earliest}: ${error.message}`,
              );
            } else this.#follow(history, journal, earliest);
          } else if (error.code !== 'CANCELLED') {
            history.report('failed', `a tail fails at ${from}: ${error.code} ${error.message}`);
          }
        },
      },
    );
  }
}
