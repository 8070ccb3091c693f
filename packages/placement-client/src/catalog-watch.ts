import {
  type CancelTimer,
  type Clock,
  type Logger,
  OperatingError,
  type Random,
} from '@robustmq/core';
import {
  type MessageStream,
  placementNodeMethods,
  type RpcClient,
  type WatchRequest,
  type WatchResponse,
} from '@robustmq/rpc';
import { Backoff } from './backoff.ts';
import type { Catalog } from './catalog.ts';
import { oldPlacement } from './old-placement.ts';
import type { PlacementServers } from './placement-servers.ts';

export interface CatalogWatchOptions {
  readonly servers: PlacementServers;
  readonly catalog: Catalog;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Who watches, for placement's log. */
  readonly nodeId: string;
}

/** While placement does not answer, the log says so once in this time. */
const remindEachMs = 30_000;
/** Placement answers a new watch at once; one that does not is left. */
const silenceMaxMs = 3_000;

/**
 * Keeps a catalog up to date: resumes from the catalog's revision, takes the full list when placement
 * cannot resume from there, and comes back for ever when the stream breaks.
 */
export class CatalogWatch {
  readonly #options: CatalogWatchOptions;
  readonly #backoff: Backoff;
  #stream: MessageStream<WatchRequest> | undefined;
  #cancelRetry: CancelTimer | undefined;
  #cancelSilence: CancelTimer | undefined;
  #fullListWanted = false;
  /** Highest placement epoch that was heard of. */
  #placementEpoch = 0;
  /** Who told what the catalog has; undefined before that, and for one that does not say. */
  #instance: Buffer | undefined;
  /** Begins a list that may contradict what is known: by a placement of a higher epoch. */
  #startsAnew = false;
  #connected = false;
  #toldAwayMs: number | undefined;
  #stopped = false;

  constructor(options: CatalogWatchOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.random);
  }

  /** Whether placement has answered on the stream that is open now. */
  get connected(): boolean {
    return this.#connected;
  }

  start(): void {
    const { servers, catalog, nodeId } = this.#options;
    const client = servers.current;
    const stream = client.open(placementNodeMethods.watch, {
      message: (step) => this.#onStep(step),
      closed: (error) => this.#onClosed(client, error),
    });
    this.#stream = stream;
    // A process that is stopped still takes connections.
    this.#cancelSilence = this.#options.clock.setTimer(silenceMaxMs, () =>
      stream.cancel(new OperatingError('UNAVAILABLE', 'placement does not answer')),
    );
    const fromRevision = this.#fullListWanted ? 0 : catalog.revision;
    stream.send({ fromRevision, nodeId, placementInstance: this.#instance });
  }

  stop(): void {
    this.#stopped = true;
    this.#connected = false;
    this.#cancelRetry?.();
    this.#cancelSilence?.();
    this.#stream?.cancel();
  }

  #onStep(step: WatchResponse): void {
    if (this.#stopped) return;
    const problem = this.#problemWith(step);
    if (problem !== undefined) {
      this.#stream?.cancel(problem);
      return;
    }
    this.#noteTeller(step);
    this.#connected = true;
    this.#toldAwayMs = undefined;
    this.#cancelSilence?.();
    this.#options.servers.answered();
    this.#backoff.reset();
    this.#options.catalog.apply(step, this.#startsAnew);
    if (step.revision === 0) return;
    this.#startsAnew = false;
    this.#fullListWanted = false;
  }

  /** A list is begun by a placement whose history may not be the one that is known. */
  #noteTeller(step: WatchResponse): void {
    const { placementEpoch, placementInstance, fullListBegins, revision } = step;
    const isOther = this.#placementEpoch > 0 && placementEpoch > this.#placementEpoch;
    if (fullListBegins && isOther) this.#startsAnew = true;
    this.#placementEpoch = placementEpoch;
    // Before a list is whole, the revision that is known is still the one of another teller.
    if (revision > 0) this.#instance = placementInstance;
  }

  /** The catalog never goes back: one that knows less is not listened to. */
  #problemWith({ placementEpoch, revision }: WatchResponse): OperatingError | undefined {
    if (placementEpoch < this.#placementEpoch) {
      const seen = `this node has seen ${this.#placementEpoch}`;
      return oldPlacement(`placement has epoch ${placementEpoch}, ${seen}`);
    }
    const { catalog } = this.#options;
    const isOlder = revision > 0 && revision < catalog.revision;
    // A newer placement may have been built anew, and counts from the beginning.
    if (!isOlder || this.#startsAnew || placementEpoch > this.#placementEpoch) return undefined;
    return oldPlacement(
      `placement's store is at revision ${revision}, this node has seen ${catalog.revision}`,
    );
  }

  #onClosed(client: RpcClient, error: OperatingError | undefined): void {
    if (this.#stopped) return;
    const { servers, clock } = this.#options;
    this.#cancelSilence?.();
    this.#tellAway(client.address, error);
    this.#connected = false;
    this.#stream = undefined;
    let atOnce = false;
    if (error?.code === 'COMPACTED') this.#fullListWanted = true;
    else atOnce = servers.leave(client, error);
    const delayMs = atOnce ? 0 : this.#backoff.after(error);
    this.#cancelRetry = clock.setTimer(delayMs, () => this.start());
  }

  #tellAway(placement: string, error: OperatingError | undefined): void {
    const { logger, clock } = this.#options;
    const nowMs = clock.monotonicMs();
    if (this.#connected) {
      logger.warn({ placement, error: error?.message }, 'placement watch lost');
    } else if (this.#toldAwayMs === undefined || nowMs - this.#toldAwayMs >= remindEachMs) {
      const hint = 'placement does not answer: see that it runs and that --placement names it';
      logger.warn({ placement, error: error?.message }, `${hint}; trying again`);
    } else return;
    this.#toldAwayMs = nowMs;
  }
}
