import type { Replica } from './replica.ts';
import { type FollowerLag, FollowerLink, type FollowerLinkOptions } from './follower-link.ts';

/** Sends the segments that this node leads to their followers. */
export class Replicator {
  readonly #options: FollowerLinkOptions;
  readonly #links = new Map<string, FollowerLink>();

  constructor(options: FollowerLinkOptions) {
    this.#options = options;
  }

  /** This node leads the segment from now on. */
  begin(replica: Replica): void {
    const { replicaNodeIds } = replica.stored.manifest;
    replicaNodeIds.forEach((nodeId, index) => {
      if (index !== replica.state.identity.selfIndex) this.#link(nodeId).add(replica, index);
    });
  }

  written(replica: Replica): void {
    this.#forLinks(replica, (link) => link.written(replica));
  }

  /** It is led no more: nobody gets anything of it from here. */
  end(replica: Replica): void {
    this.#forLinks(replica, (link) => link.remove(replica));
  }

  /** Whether a follower that can be reached lacks records of the log. */
  isBehind(replica: Replica): boolean {
    let isBehind = false;
    this.#forLinks(replica, (link) => {
      if (link.isBehind(replica)) isBehind = true;
    });
    return isBehind;
  }

  /** Of each follower that has something to get from here, and of each peer that owes an answer. */
  lags(): FollowerLag[] {
    return [...this.#links.values()].filter((link) => !link.isIdle).map((link) => link.lag());
  }

  async close(): Promise<void> {
    const links = [...this.#links.values()];
    this.#links.clear();
    await Promise.all(links.map((link) => link.end()));
  }

  #forLinks({ stored, state }: Replica, visit: (link: FollowerLink) => void): void {
    const { replicaNodeIds } = stored.manifest;
    if (replicaNodeIds.length === 1) return;
    for (let index = 0; index < replicaNodeIds.length; index++) {
      const nodeId = replicaNodeIds[index];
      const link = nodeId === undefined ? undefined : this.#links.get(nodeId);
      if (index !== state.identity.selfIndex && link !== undefined) visit(link);
    }
  }

  #link(nodeId: string): FollowerLink {
    const link = this.#links.get(nodeId) ?? new FollowerLink(nodeId, this.#options);
    this.#links.set(nodeId, link);
    return link;
  }
}
