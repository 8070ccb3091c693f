import type { ActivateRequest, PrepareRequest } from '@robustmq/rpc';
import type { World } from '../world/world.ts';

/**
 * Which segments were opened in the place of which. Two of one shard with one epoch were opened by placement
 * and by an old copy of it, each on journals that the other had not spoken with: a fork that nobody can see.
 */
export class Openings {
  readonly #world: World;
  readonly #shardOf = new Map<string, number>();
  readonly #opened = new Map<string, string>();

  constructor(world: World) {
    this.#world = world;
  }

  note(path: string, request: unknown): void {
    if (path.endsWith('/Prepare')) {
      for (const { segmentId, shardId } of (request as PrepareRequest).replicas) {
        this.#shardOf.set(segmentId.toString('hex'), shardId);
      }
    } else if (path.endsWith('/Activate')) {
      for (const { segmentId, epoch } of (request as ActivateRequest).segments) {
        this.#noteOpened(segmentId.toString('hex'), epoch);
      }
    }
  }

  #noteOpened(segmentId: string, epoch: number): void {
    const place = `${this.#shardOf.get(segmentId)}/${epoch}`;
    const before = this.#opened.get(place);
    if (before !== undefined && before !== segmentId) this.#world.isForked = true;
    this.#opened.set(place, segmentId);
  }
}
