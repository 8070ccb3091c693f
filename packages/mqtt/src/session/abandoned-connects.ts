import { type CancelTimer, type Clock, toOperatingError } from '@robustmq/core';

/** A CONNECT that was refused although its coordinator may have granted it. */
export interface AbandonedConnect {
  readonly clientId: string;
  readonly connectionId: string;
}

export interface AbandonedConnectsOptions {
  readonly clock: Clock;
  /** Tells the coordinator, in order with all other commands of this broker. */
  readonly tell: (connect: AbandonedConnect) => Promise<unknown>;
}

/** More CONNECTs are refused before they are sent: those under way may still be added. */
const waitingMax = 500;
const underWayMax = 64;
const pauseMinMs = 100;
const pauseMaxMs = 10_000;

/**
 * The abandoned CONNECTs of one coordinator, until it has confirmed that they hold no session. Without
 * that, a session would stay connected with nobody behind it for as long as this broker lives.
 */
export class AbandonedConnects implements Disposable {
  readonly #options: AbandonedConnectsOptions;
  /** By connection id, oldest first. */
  readonly #waiting = new Map<string, AbandonedConnect>();
  readonly #underWay = new Set<AbandonedConnect>();
  #pauseMs = pauseMinMs;
  #cancelPause: CancelTimer | undefined;
  #isClosed = false;

  constructor(options: AbandonedConnectsOptions) {
    this.#options = options;
  }

  get full(): boolean {
    return this.#waiting.size >= waitingMax;
  }

  add(connect: AbandonedConnect): void {
    if (this.#isClosed) return;
    this.#waiting.set(connect.connectionId, connect);
    if (this.#underWay.size < underWayMax) void this.#tell(connect);
  }

  /**
   * To be called before a CONNECT of the client is sent: so it meets nothing of those before. What is
   * under way is told again, since it may be given up before the CONNECT leaves.
   */
  tellFirst(clientId: string): void {
    for (const connect of this.#waiting.values()) {
      if (connect.clientId === clientId) void this.#tell(connect);
    }
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#cancelPause?.();
    this.#waiting.clear();
  }

  async #tell(connect: AbandonedConnect): Promise<void> {
    this.#underWay.add(connect);
    try {
      await this.#options.tell(connect);
      this.#waiting.delete(connect.connectionId);
      this.#pauseMs = pauseMinMs;
    } catch (thrown) {
      toOperatingError(thrown); // It waits for its next turn.
      this.#pause();
    }
    this.#underWay.delete(connect);
    this.#tellMore();
  }

  #pause(): void {
    if (this.#cancelPause !== undefined || this.#isClosed) return;
    this.#cancelPause = this.#options.clock.setTimer(this.#pauseMs, () => {
      this.#cancelPause = undefined;
      this.#tellMore();
    });
    this.#pauseMs = Math.min(this.#pauseMs * 2, pauseMaxMs);
  }

  #tellMore(): void {
    if (this.#cancelPause !== undefined || this.#isClosed) return;
    for (const connect of this.#waiting.values()) {
      if (this.#underWay.size >= underWayMax) return;
      if (!this.#underWay.has(connect)) void this.#tell(connect);
    }
  }
}
