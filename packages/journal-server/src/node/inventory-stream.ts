import type { OperatingError } from '@robustmq/core';
import {
  type InventoryRequest,
  type InventoryResponse,
  type MessageStream,
  type ReplicaSummary,
  segmentIdToBytes,
  type StreamHandlers,
} from '@robustmq/rpc';
import type { JournalStorage, StoredReplica } from '../storage/storage.ts';
import { checkAuthority } from './authority-check.ts';
import { operatingErrorOf } from './operating-error.ts';

/** Lists all replicas of the node, in messages of bounded size, as fast as the other end takes them. */
export class InventoryStream implements StreamHandlers<InventoryRequest> {
  readonly #stream: MessageStream<InventoryResponse>;
  readonly #storage: JournalStorage;
  readonly #itemsMax: number;
  #left: StoredReplica[] = [];
  #isListing = false;

  constructor(stream: MessageStream<InventoryResponse>, storage: JournalStorage, itemsMax: number) {
    this.#stream = stream;
    this.#storage = storage;
    this.#itemsMax = itemsMax;
  }

  message(request: InventoryRequest): void {
    void this.#list(request);
  }

  async #list(request: InventoryRequest): Promise<void> {
    try {
      await checkAuthority(this.#storage, request.authority);
    } catch (thrown) {
      this.#stream.cancel(operatingErrorOf(thrown));
      return;
    }
    this.#left = [...this.#storage.replicas()];
    this.#isListing = true;
    this.drain();
  }

  drain(): void {
    if (!this.#isListing) return;
    while (this.#left.length > 0) {
      const replicas = this.#left.splice(0, this.#itemsMax).map(summaryOf);
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

function summaryOf(stored: StoredReplica): ReplicaSummary {
  const { manifest, baseOffset, sealedLength } = stored;
  return {
    segmentId: segmentIdToBytes(manifest.segmentId),
    shardId: manifest.shardId,
    epoch: manifest.epoch,
    baseOffset: baseOffset ?? 0,
    baseKnown: baseOffset !== undefined,
    length: sealedLength ?? stored.length,
    sealed: sealedLength !== undefined,
    fencedEpoch: stored.fencedEpoch,
    damaged: stored.damaged,
    replicaNodeIds: [...manifest.replicaNodeIds],
    ackQuorum: manifest.ackQuorum,
  };
}
