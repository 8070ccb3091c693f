import type { Replica } from './replica.ts';

/** What this node has of one shard. */
export class LocalShard {
  readonly shardId: number;
  /** The segment that this node leads. */
  led: Replica | undefined;
  /** Payload bytes of appends that have no answer yet. */
  inFlightBytes = 0;
  /** Replicas of all kinds, also those whose base is not known. */
  replicaCount = 0;
  /** Replicas whose base is known, by base. An empty segment and its successor share one. */
  readonly #replicas: Replica[] = [];

  constructor(shardId: number) {
    this.shardId = shardId;
  }

  add(replica: Replica): void {
    if (this.#replicas.includes(replica)) return;
    const index = this.#replicas.findLastIndex((other) => isBefore(other, replica));
    this.#replicas.splice(index + 1, 0, replica);
  }

  remove(replica: Replica): void {
    const index = this.#replicas.indexOf(replica);
    if (index >= 0) this.#replicas.splice(index, 1);
    if (this.led === replica) this.led = undefined;
  }

  /** The replica that holds `offset`, or ends there and has no successor here. */
  replicaAt(offset: number): Replica | undefined {
    const index = this.#replicas.findLastIndex(({ baseOffset }) => baseOffset <= offset);
    return this.#replicas[index];
  }

  /** Replicas from `replica` on, in the order of the chain. */
  from(replica: Replica): readonly Replica[] {
    const index = this.#replicas.indexOf(replica);
    return index < 0 ? [] : this.#replicas.slice(index);
  }

  get last(): Replica | undefined {
    return this.#replicas.at(-1);
  }
}

function isBefore(left: Replica, right: Replica): boolean {
  if (left.baseOffset !== right.baseOffset) return left.baseOffset < right.baseOffset;
  return left.stored.manifest.epoch < right.stored.manifest.epoch;
}
