import {
  type ActivateRequest,
  CatalogCopy,
  type DeleteRequest,
  type FenceRequest,
  type PrepareRequest,
  type RollSegmentsRequest,
  type SealNotifyRequest,
  type StoreCatalogRequest,
} from '@robustmq/rpc';
import type { World } from '../world/world.ts';

/**
 * Whether placement and an old copy of it have decided the same thing differently, each with journals that
 * the other has not spoken with meanwhile: nobody can see such a fork. Two segments of one shard were opened
 * with one epoch, or one segment ends at two places, or a shard goes on below an end that only journals were
 * told whose disks are gone, or where another segment was opened that nobody has ended.
 */
export class Forks {
  readonly #world: World;
  readonly #shardOf = new Map<string, number>();
  /** Segments by shard and epoch. */
  readonly #opened = new Map<string, string>();
  /** Segments that somebody leads and nobody was told to end, with their shards and bases. */
  readonly #open = new Map<string, { readonly shardId: number; readonly baseOffset: number }>();
  /** Ends by segment. */
  readonly #ends = new Map<string, number>();
  /** By shard and offset at which segments end: journals that were told, and still have their disks. */
  readonly #told = new Map<number, Map<number, Set<string>>>();

  constructor(world: World) {
    this.#world = world;
  }

  /** A call that a server got. */
  note(path: string, request: unknown, server: string): void {
    this.#noteEnds(path, request);
    if (path.endsWith('/Prepare')) {
      for (const { segmentId, shardId } of (request as PrepareRequest).replicas) {
        this.#shardOf.set(segmentId.toString('hex'), shardId);
      }
    } else if (path.endsWith('/Activate')) {
      for (const { segmentId, epoch, baseOffset } of (request as ActivateRequest).segments) {
        const id = segmentId.toString('hex');
        const shardId = this.#shardOf.get(id);
        this.#decided(this.#opened, `${shardId}/${epoch}`, id);
        if (shardId === undefined) continue;
        if (this.#isForgotten(shardId, baseOffset)) this.#world.isForked = true;
        for (const [other, one] of this.#open) {
          const isBelow = one.shardId === shardId && baseOffset <= one.baseOffset;
          if (other !== id && isBelow) this.#world.isForked = true;
        }
        this.#open.set(id, { shardId, baseOffset });
      }
    } else if (path.endsWith('/SealNotify')) {
      for (const { segmentId, length, baseOffset } of (request as SealNotifyRequest).segments) {
        const id = segmentId.toString('hex');
        this.#decided(this.#ends, id, length);
        const shardId = this.#shardOf.get(id);
        if (shardId !== undefined) this.#tell(shardId, baseOffset + length, server);
      }
    } else if (path.endsWith('/StoreCatalog')) {
      const { shards } = CatalogCopy.decode((request as StoreCatalogRequest).copy);
      for (const { shardId, endOffset } of shards) this.#tell(shardId, endOffset, server);
    }
  }

  /** What ends a segment: a fence, a notice, an order to delete it, or its leader. */
  #noteEnds(path: string, request: unknown): void {
    const ended = (segmentId: Buffer): unknown => this.#open.delete(segmentId.toString('hex'));
    if (path.endsWith('/Delete')) (request as DeleteRequest).segmentIds.forEach(ended);
    else if (/\/(?:Fence|SealNotify|RollSegments)$/.test(path)) {
      const { segments } = request as FenceRequest | SealNotifyRequest | RollSegmentsRequest;
      for (const { segmentId } of segments) ended(segmentId);
    }
  }

  /** A journal has got an empty disk. */
  diskLost(journal: string): void {
    for (const ends of this.#told.values()) {
      for (const journals of ends.values()) journals.delete(journal);
    }
  }

  #tell(shardId: number, endOffset: number, journal: string): void {
    const ends = this.#told.get(shardId) ?? new Map<number, Set<string>>();
    this.#told.set(shardId, ends);
    const journals = ends.get(endOffset) ?? new Set<string>();
    ends.set(endOffset, journals.add(journal));
  }

  /** Whether nobody can know any more that the shard had come further. */
  #isForgotten(shardId: number, baseOffset: number): boolean {
    const ends = this.#told.get(shardId) ?? new Map<number, Set<string>>();
    const later = [...ends].filter(([endOffset]) => endOffset > baseOffset);
    return later.length > 0 && later.every(([, journals]) => journals.size === 0);
  }

  #decided<T>(known: Map<string, T>, what: string, decision: T): void {
    const before = known.get(what);
    if (before !== undefined && before !== decision) this.#world.isForked = true;
    known.set(what, decision);
  }
}
