import type {
  DeleteRequest,
  FenceRequest,
  FenceResponse,
  PrepareRequest,
  RecoverRequest,
  SealNotifyRequest,
} from '@robustmq/rpc';
import type { World } from '../world/world.ts';

interface Copies {
  /** Records that each member had when it was fenced or had got a copy; undefined: nobody has asked. */
  readonly lengths: Map<string, number | undefined>;
  /** Records up to its end, once somebody was told. */
  sealedLength: number | undefined;
  /** Whether a member has lost its disk, or one of so few what it had. */
  isLessOne: boolean;
  /** It has no more members than its ack quorum, so that one of them may have been sealed with alone. */
  isBare: boolean;
}

/**
 * Who may have all records of a sealed segment. Where a seal found fewer copies than the ack quorum
 * (docs/journal.md, amendment 25), one disk may have had the only one: nothing can be done when it is lost.
 */
export class SealedCopies {
  readonly #world: World;
  readonly #segments = new Map<string, Copies>();

  constructor(world: World) {
    this.#world = world;
    world.onDamage = (journal, segment) => this.#damaged(journal, segment);
  }

  /** An order that a journal got. */
  ordered(path: string, request: unknown, journal: string): void {
    if (path.endsWith('/Prepare')) {
      for (const replica of (request as PrepareRequest).replicas) {
        const copies = this.#of(replica.segmentId);
        copies.lengths.set(journal, undefined);
        copies.isBare = replica.replicaNodeIds.length <= replica.ackQuorum;
      }
    } else if (path.endsWith('/SealNotify')) {
      for (const { segmentId, length } of (request as SealNotifyRequest).segments) {
        this.#of(segmentId).sealedLength = length;
      }
    } else if (path.endsWith('/Delete')) {
      for (const segmentId of (request as DeleteRequest).segmentIds) {
        this.#segments.delete(segmentId.toString('hex'));
      }
    }
  }

  /** What a journal answered to that. */
  answered(path: string, request: unknown, response: unknown, journal: string): void {
    if (!path.endsWith('/Fence') && !path.endsWith('/Recover')) return;
    const { segments } = request as FenceRequest | RecoverRequest;
    (response as FenceResponse).results.forEach(({ status, length }, at) => {
      const segmentId = segments[at]?.segmentId;
      if (segmentId === undefined || (status?.code ?? 0) !== 0) return;
      const copies = this.#of(segmentId);
      copies.lengths.set(journal, length);
      this.#check(copies);
    });
  }

  /** A journal has got an empty disk. */
  diskLost(journal: string): void {
    for (const copies of this.#segments.values()) {
      if (!copies.lengths.delete(journal)) continue;
      copies.isLessOne = true;
      this.#check(copies);
    }
  }

  /** Placement may hear of it when its store is known to be old, and do nothing. */
  #damaged(journal: string, segment: string): void {
    const copies = this.#segments.get(segment);
    if (copies?.isBare !== true || !copies.lengths.has(journal)) return;
    copies.lengths.set(journal, 0);
    copies.isLessOne = true;
    this.#check(copies);
  }

  #check({ lengths, sealedLength, isLessOne }: Copies): void {
    if (!isLessOne || sealedLength === undefined) return;
    const isShort = (length: number | undefined): boolean =>
      length !== undefined && length < sealedLength;
    if ([...lengths.values()].every(isShort)) this.#world.losesLast = true;
  }

  #of(segmentId: Buffer): Copies {
    const id = segmentId.toString('hex');
    const none = { lengths: new Map(), sealedLength: undefined, isLessOne: false, isBare: false };
    const copies = this.#segments.get(id) ?? none;
    this.#segments.set(id, copies);
    return copies;
  }
}
