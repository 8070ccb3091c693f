import type { Caller } from '@robustmq/kernel';

const none: ReadonlySet<string> = new Set();

/** Which sessions each broker holds a grant of. */
export class GrantIndex {
  readonly #clientIds = new Map<string, { readonly broker: Caller; readonly ids: Set<string> }>();

  add({ nodeId, incarnation }: Caller, clientId: string): void {
    const key = keyOf(nodeId, incarnation);
    let entry = this.#clientIds.get(key);
    if (entry === undefined) {
      entry = { broker: { nodeId, incarnation }, ids: new Set() };
      this.#clientIds.set(key, entry);
    }
    entry.ids.add(clientId);
  }

  remove({ nodeId, incarnation }: Caller, clientId: string): void {
    const key = keyOf(nodeId, incarnation);
    const entry = this.#clientIds.get(key);
    if (entry === undefined) return;
    entry.ids.delete(clientId);
    if (entry.ids.size === 0) this.#clientIds.delete(key);
  }

  /** Client ids that a broker holds; it changes with the grants. */
  heldBy(nodeId: string, incarnation: number): ReadonlySet<string> {
    return this.#clientIds.get(keyOf(nodeId, incarnation))?.ids ?? none;
  }

  /** Brokers that hold anything. */
  brokers(): Caller[] {
    return [...this.#clientIds.values()].map(({ broker }) => broker);
  }
}

function keyOf(nodeId: string, incarnation: number): string {
  return `${nodeId}/${incarnation}`;
}
