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
  }

  /** An order that a journal got. */
  ordered(path: string, request: unknown, journal: string): void {
    if (path.endsWith('/Prepare')) {
      for (const { segmentId } of (request as PrepareRequest).replicas) {
        this.#of(segmentId).lengths.set(journal, undefined);
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
      this.#of(segmentId).lengths.set(journal, length);
    });
  }

  /** A journal has got an empty disk. */
  diskLost(journal: string): void {
    for (const { lengths, sealedLength } of this.#segments.values()) {
      if (!lengths.delete(journal) || sealedLength === undefined) continue;
      const others = [...lengths.values()];
      if (others.every((length) => length !== undefined && length < sealedLength)) {
        this.#world.losesLast = true;
      }
    }
  }

  #of(segmentId: Buffer): Copies {
    const id = segmentId.toString('hex');
    const copies = this.#segments.get(id) ?? { lengths: new Map(), sealedLength: undefined };
    this.#segments.set(id, copies);
    return copies;
  }
}
