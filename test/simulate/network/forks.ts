import type { ActivateRequest, PrepareRequest, SealNotifyRequest } from '@robustmq/rpc';
import type { World } from '../world/world.ts';

/**
 * Whether placement and an old copy of it have decided the same thing differently, each with journals that
 * the other has not spoken with meanwhile: nobody can see such a fork. Two segments of one shard were opened
 * with one epoch, or one segment ends at two places.
 */
export class Forks {
  readonly #world: World;
  readonly #shardOf = new Map<string, number>();
  /** Segments by shard and epoch. */
  readonly #opened = new Map<string, string>();
  /** Ends by segment. */
  readonly #ends = new Map<string, number>();

  constructor(world: World) {
    this.#world = world;
  }

  /** An order to a journal. */
  note(path: string, request: unknown): void {
    if (path.endsWith('/Prepare')) {
      for (const { segmentId, shardId } of (request as PrepareRequest).replicas) {
        this.#shardOf.set(segmentId.toString('hex'), shardId);
      }
    } else if (path.endsWith('/Activate')) {
      for (const { segmentId, epoch } of (request as ActivateRequest).segments) {
        const id = segmentId.toString('hex');
        this.#decided(this.#opened, `${this.#shardOf.get(id)}/${epoch}`, id);
      }
    } else if (path.endsWith('/SealNotify')) {
      for (const { segmentId, length } of (request as SealNotifyRequest).segments) {
        this.#decided(this.#ends, segmentId.toString('hex'), length);
      }
    }
  }

  #decided<T>(known: Map<string, T>, what: string, decision: T): void {
    const before = known.get(what);
    if (before !== undefined && before !== decision) this.#world.isForked = true;
    known.set(what, decision);
  }
}
