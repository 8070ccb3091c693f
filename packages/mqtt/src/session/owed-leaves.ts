import { toOperatingError } from '@robustmq/core';
import type { CoordinatorContext, MachineTimer } from '@robustmq/kernel';
import { MqttSessionCommand } from '@robustmq/rpc';
import { groupIdOf } from '../share/mqtt-share-protocol.ts';
import { decodeMessage, encodeMessage } from './encoded-message.ts';

/** A session that has ended and was a member of share groups. */
interface OwedLeave {
  readonly clientId: string;
  readonly epoch: number;
  readonly groupIds: readonly string[];
}

/** Tells a share group that a session is no more. */
export type EndMember = (member: {
  readonly groupId: string;
  readonly key: string;
  readonly epoch: number;
}) => Promise<void>;

/** Told at the same time, at most. */
const tellingMax = 100;
const retryMs = 1000;

/**
 * The share groups that still have to hear that a session has ended. Part of the fold: a session's end adds
 * to it. What was heard is forgotten without a record; a new owner tells it again, which changes nothing,
 * since it names the epoch of the session that has ended.
 */
export class OwedLeaves {
  readonly #owed = new Map<string, OwedLeave>();

  get size(): number {
    return this.#owed.size;
  }

  [Symbol.iterator](): IterableIterator<OwedLeave> {
    return this.#owed.values();
  }

  /** The session of that epoch has ended, with these subscriptions. */
  add(clientId: string, epoch: number, filters: Iterable<string>): void {
    const groupIds = [...filters].flatMap((filter) => groupIdOf(filter) ?? []);
    if (groupIds.length > 0)
      this.#owed.set(nameOf({ clientId, epoch }), { clientId, epoch, groupIds });
  }

  done(leave: OwedLeave): void {
    this.#owed.delete(nameOf(leave));
  }

  /** As pieces of a snapshot. */
  images(): Buffer[] {
    return [...this.#owed.values()].map(({ clientId, epoch, groupIds }) => {
      const filters = [...groupIds];
      const command = { $case: 'unsubscribe' as const, value: { filters } };
      return encodeMessage(MqttSessionCommand, { clientId, epoch, command });
    });
  }

  restore(image: Buffer): void {
    const { clientId, epoch, command } = decodeMessage(MqttSessionCommand, image);
    if (command?.$case !== 'unsubscribe') return;
    const leave = { clientId, epoch, groupIds: command.value.filters };
    this.#owed.set(nameOf(leave), leave);
  }
}

/** Tells the groups what is owed, until each has heard it. */
export class LeaveTeller {
  readonly #context: Pick<CoordinatorContext, 'timer' | 'logger'>;
  readonly #owed: OwedLeaves;
  readonly #endMember: EndMember;
  readonly #telling = new Set<OwedLeave>();
  #timer: MachineTimer | undefined;
  #isStopped = false;

  constructor(
    context: Pick<CoordinatorContext, 'timer' | 'logger'>,
    owed: OwedLeaves,
    endMember: EndMember,
  ) {
    this.#context = context;
    this.#owed = owed;
    this.#endMember = endMember;
  }

  /** Tells what is committed. */
  tell(): void {
    for (const leave of this.#owed) {
      if (this.#telling.size >= tellingMax) break;
      if (this.#telling.has(leave)) continue;
      this.#telling.add(leave);
      void this.#tell(leave);
    }
  }

  stop(): void {
    this.#isStopped = true;
  }

  async #tell(leave: OwedLeave): Promise<void> {
    const { clientId: key, epoch, groupIds } = leave;
    try {
      await Promise.all(groupIds.map((groupId) => this.#endMember({ groupId, key, epoch })));
      this.#owed.done(leave);
      this.#telling.delete(leave);
      if (!this.#isStopped) this.tell();
    } catch (thrown) {
      this.#telling.delete(leave);
      const { message, code } = toOperatingError(thrown);
      if (this.#isStopped) return;
      this.#context.logger.warn(
        { key, code },
        `share groups hear later of a session's end: ${message}`,
      );
      this.#timer ??= this.#context.timer(() => this.tell());
      this.#timer.set(retryMs);
    }
  }
}

function nameOf({ clientId, epoch }: Pick<OwedLeave, 'clientId' | 'epoch'>): string {
  return `${epoch}/${clientId}`;
}
