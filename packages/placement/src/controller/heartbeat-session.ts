import { type OperatingError, expectOperatingError } from '@robustmq/core';
import {
  type HeartbeatRequest,
  type HeartbeatResponse,
  type MessageStream,
  type Node,
  type StreamHandlers,
  toStatus,
} from '@robustmq/rpc';
import { OtherDisk } from './other-disk.ts';
import type { NodeRegistry } from './node-registry.ts';

/** What each answer tells. */
export type HeartbeatTerms = Omit<HeartbeatResponse, 'status' | 'incarnationMin'>;

export interface HeartbeatSessionOptions {
  readonly nodes: NodeRegistry;
  readonly terms: () => HeartbeatTerms;
  /** Throws when the node belongs to another cluster, or has seen a newer placement. */
  readonly check: (request: HeartbeatRequest) => void;
  /** Told once, when the stream is over. */
  readonly onClosed: () => void;
}

/** One node's heartbeat stream: the first message registers, each later one renews. */
export class HeartbeatSession implements StreamHandlers<HeartbeatRequest> {
  readonly #options: HeartbeatSessionOptions;
  readonly #stream: MessageStream<HeartbeatResponse>;
  #node: Node | undefined;
  /** Messages are handled one after the other. */
  #last: Promise<void> = Promise.resolve();
  #refused = false;
  /** It has said that it ends: whatever breaks a stream may look like an end in order. */
  #isLeaving = false;

  constructor(options: HeartbeatSessionOptions, stream: MessageStream<HeartbeatResponse>) {
    this.#options = options;
    this.#stream = stream;
  }

  message(request: HeartbeatRequest): void {
    this.#last = this.#after(() => this.#handle(request));
  }

  /** Ends the stream from this side: the lease goes on. */
  cancel(error: OperatingError): void {
    this.#refused = true;
    this.#node = undefined;
    this.#stream.cancel(error);
  }

  closed(): void {
    this.#options.onClosed();
    this.#last = this.#after(() => this.#end());
    this.#stream.end();
  }

  async #after(work: () => Promise<void>): Promise<void> {
    await this.#last;
    await work();
  }

  async #end(): Promise<void> {
    const node = this.#node;
    if (node === undefined) return;
    try {
      if (this.#isLeaving) await this.#options.nodes.left(node, this);
      else await this.#options.nodes.probe(node.nodeId, node.incarnation);
    } catch (thrown) {
      // What could not be stored now is seen again when the lease has run out.
      expectOperatingError(thrown);
    }
  }

  async #handle(request: HeartbeatRequest): Promise<void> {
    if (this.#refused) return;
    this.#isLeaving = request.leaving;
    try {
      this.#options.check(request);
      if (this.#node === undefined) this.#node = await this.#options.nodes.register(request, this);
      else await this.#options.nodes.renew(this.#node, request);
      this.#stream.send({ ...this.#options.terms(), status: undefined, incarnationMin: 0 });
    } catch (thrown) {
      const error = expectOperatingError(thrown);
      this.#refused = true;
      this.#node = undefined;
      const incarnationMin = error instanceof OtherDisk ? error.incarnationMin : 0;
      this.#stream.send({ ...this.#options.terms(), status: toStatus(error), incarnationMin });
      this.#stream.end();
    }
  }
}
