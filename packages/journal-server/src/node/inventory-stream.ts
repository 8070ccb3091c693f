import type { OperatingError, SegmentId } from '@robustmq/core';
import {
  type InventoryRequest,
  type InventoryResponse,
  type MessageStream,
  type StreamHandlers,
} from '@robustmq/rpc';
import type { JournalStorage } from '../storage/storage.ts';
import { checkAuthority } from './authority-check.ts';
import { operatingErrorOf } from './operating-error.ts';
import type { Replica } from './replica.ts';
import { summaryOf } from './replica-summary.ts';

/** What the list needs of the node. */
interface InventoryPort {
  readonly storage: JournalStorage;
  replica(segmentId: SegmentId): Replica | undefined;
}

/** Lists all replicas of the node, in messages of bounded size, as fast as the other end takes them. */
export class InventoryStream implements StreamHandlers<InventoryRequest> {
  readonly #stream: MessageStream<InventoryResponse>;
  readonly #port: InventoryPort;
  readonly #itemsMax: number;
  #left: SegmentId[] = [];
  #isListing = false;

  constructor(stream: MessageStream<InventoryResponse>, port: InventoryPort, itemsMax: number) {
    this.#stream = stream;
    this.#port = port;
    this.#itemsMax = itemsMax;
  }

  message(request: InventoryRequest): void {
    void this.#list(request);
  }

  async #list(request: InventoryRequest): Promise<void> {
    try {
      await checkAuthority(this.#port.storage, request.authority);
    } catch (thrown) {
      this.#stream.cancel(operatingErrorOf(thrown));
      return;
    }
    this.#left = Array.from(this.#port.storage.replicas(), ({ manifest }) => manifest.segmentId);
    this.#isListing = true;
    this.drain();
  }

  drain(): void {
    if (!this.#isListing) return;
    while (this.#left.length > 0) {
      const segmentIds = this.#left.splice(0, this.#itemsMax);
      const found = segmentIds.map((segmentId) => this.#port.replica(segmentId));
      const replicas = found.filter((replica) => replica !== undefined).map(summaryOf);
      if (!this.#stream.send({ replicas })) return;
    }
    this.#isListing = false;
    this.#stream.end();
  }

  /** The client ends its side as soon as it has asked, and still waits for the list. */
  closed(error: OperatingError | undefined): void {
    if (error === undefined) return;
    this.#left = [];
    this.#isListing = false;
  }
}
