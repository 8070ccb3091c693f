import { type Place, ShardHistory } from '../../history/shard-history.ts';
import type { World } from '../world/world.ts';

/** The history of a simulated shard. Producers die without an answer, and send what they have sent again. */
export class SimulatedHistory extends ShardHistory {
  readonly #world: World;

  constructor(shardId: number, world: World) {
    super(shardId, { add: (kind, text) => world.violate(`${kind}: ${text}`) }, 'any');
    this.#world = world;
  }

  override acknowledge(place: Place, offset: number): void {
    const { writer, sequence } = place;
    this.#world.explain(
      () => `shard ${this.shardId}: ${writer}/${sequence} acknowledged at ${offset}`,
    );
    super.acknowledge(place, offset);
  }
}
