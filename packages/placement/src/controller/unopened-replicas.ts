import type { ReplicaSummary } from '@robustmq/rpc';
import type { Image } from './image.ts';

/**
 * Which of the replicas that were prepared, and that no chain knows, no journal has ever opened. A store that
 * is an old copy does not know what was opened since: only the journals that were to have the segment do, and
 * they refuse such a store, or tell of a replica that was used. So all of them are heard first.
 */
export class UnopenedReplicas {
  readonly #image: Pick<Image, 'removedNodes'>;
  /** Journals that have told this placement what they have. */
  readonly #heard = new Set<string>();
  /** Segments in no chain that a journal has used, in hex. */
  readonly #used = new Set<string>();
  /** Replicas that wait for other journals, by the journal that has them. */
  readonly #waiting = new Map<string, readonly ReplicaSummary[]>();

  constructor(image: Pick<Image, 'removedNodes'>) {
    this.#image = image;
  }

  /** A journal has told all that it has: of that, in no chain, those `used` and those `unused`. */
  heard(nodeId: string, used: readonly ReplicaSummary[], unused: readonly ReplicaSummary[]): void {
    this.#heard.add(nodeId);
    for (const { segmentId } of used) this.#used.add(segmentId.toString('hex'));
    const waiting = unused.filter((replica) => !this.isSure(replica));
    if (waiting.length > 0) this.#waiting.set(nodeId, waiting);
    else this.#waiting.delete(nodeId);
  }

  /** Whether all journals that were to have the segment are heard, or were removed, and none has used it. */
  isSure({ segmentId, replicaNodeIds }: ReplicaSummary): boolean {
    if (this.#used.has(segmentId.toString('hex'))) return false;
    return replicaNodeIds.every(
      (nodeId) => this.#heard.has(nodeId) || this.#image.removedNodes.has(nodeId),
    );
  }

  /** Journals to be asked again: what they have of a segment waits for nobody any more. Each is told once. */
  takeReady(): readonly string[] {
    const ready = [...this.#waiting].filter(([, replicas]) => replicas.some((r) => this.isSure(r)));
    for (const [nodeId] of ready) this.#waiting.delete(nodeId);
    return ready.map(([nodeId]) => nodeId);
  }
}
