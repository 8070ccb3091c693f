/** Items gathered by the node that they are for. */
export class ByNode<Item> {
  readonly #items = new Map<string, Item[]>();

  add(nodeId: string, item: Item): void {
    const items = this.#items.get(nodeId);
    if (items === undefined) this.#items.set(nodeId, [item]);
    else items.push(item);
  }

  /** Calls `work` for all nodes at once; resolves when all are done. */
  async forEach(work: (nodeId: string, items: readonly Item[]) => Promise<void>): Promise<void> {
    await Promise.all([...this.#items].map(([nodeId, items]) => work(nodeId, items)));
  }
}
