import { type Clock, type Logger, OperatingError } from '@robustmq/core';
import type { CoordinatorCalls } from '../coordinator/coordinator-calls.ts';
import { coordinatorIndex } from '../coordinator/coordinator-index.ts';
import { shareGroupKind } from './share-group-kind.ts';
import { ShareLink } from './share-link.ts';
import {
  type ShareMemberOptions,
  ShareMembership,
  type ShareReceiver,
} from './share-membership.ts';
import { encodeShareCommand } from './share-message.ts';

export interface ShareGroupClientOptions {
  readonly calls: CoordinatorCalls;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A broker's door to the share groups, wherever their coordinators run. */
export class ShareGroupClient implements Disposable {
  readonly #options: ShareGroupClientOptions;
  readonly #links = new Map<number, ShareLink>();

  constructor(options: ShareGroupClientOptions) {
    this.#options = options;
    options.calls.onOwner(shareGroupKind, (index) => this.#links.get(index)?.ownerChanged());
  }

  /**
   * A member that is connected here; {@link ShareMembership.join} makes it one. Throws UNAVAILABLE while the
   * cluster does not know share groups yet.
   */
  member(options: ShareMemberOptions, receiver: ShareReceiver): ShareMembership {
    const shards = this.#options.calls.shards(shareGroupKind);
    if (shards === undefined) {
      throw new OperatingError('UNAVAILABLE', 'share groups have no coordinators yet; try again');
    }
    const index = coordinatorIndex(options.groupId, shards);
    let link = this.#links.get(index);
    if (link === undefined) {
      const { calls, clock, logger } = this.#options;
      link = new ShareLink({ calls, index, clock, logger });
      this.#links.set(index, link);
    }
    return new ShareMembership(link, options, receiver);
  }

  /** Nothing is told or asked for any more. */
  [Symbol.dispose](): void {
    for (const link of this.#links.values()) link.close();
    this.#links.clear();
  }
}

/** Tells a group that a session is no more, which was a member of it. Resolves once that is committed. */
export async function endShareMember(
  calls: CoordinatorCalls,
  member: { readonly groupId: string; readonly key: string; readonly epoch: number },
): Promise<void> {
  const departure = { ...member, joinSequence: 0 };
  const payload = encodeShareCommand({ kind: 'ended', departure });
  await calls.call(shareGroupKind, member.groupId, payload);
}
