import {
  type CancelTimer,
  type Clock,
  type Logger,
  OperatingError,
  type Random,
  silentLogger,
} from '@robustmq/core';
import {
  type CoordinatorKind,
  errorOfStatus,
  type HeartbeatRequest,
  type HeartbeatResponse,
  type JournalHealth,
  type MessageStream,
  type Node,
  placementNodeMethods,
  type RpcClient,
  type Transport,
} from '@robustmq/rpc';
import { Backoff } from './backoff.ts';
import { oldPlacement } from './old-placement.ts';
import { PlacementServers } from './placement-servers.ts';

/** What placement answers to a registration. */
export interface Registration {
  /** The cluster that the node belongs to from now on: to be kept durably. */
  readonly clusterId: string;
  /** Epoch of the placement: to be kept durably before orders with it are obeyed. */
  readonly placementEpoch: number;
  readonly leaseMs: number;
}

export interface NodeRegistrationOptions {
  /** HOST:PORT of each placement server; at least one. */
  readonly placement: readonly string[];
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger?: Logger;
  /** The node as it wants to be known. Its `state` is placement's to say. */
  readonly node: Node;
  /** Coordinators that a broker can run. */
  readonly coordinatorKinds?: readonly CoordinatorKind[];
  /** Cluster that the node belongs to; empty when it has never been told. */
  readonly clusterId: string;
  /** Highest placement epoch that the node has seen; 0 for none. */
  readonly placementEpoch: number;
  /** Called at each registration: the first, and each after the stream was lost. */
  readonly onRegistered?: (registration: Registration) => void;
  /**
   * Called when placement refuses the node. WRONG_CLUSTER and FENCED (a newer incarnation of the node
   * lives) are final: nothing is tried any more, and the process should end with the error's message.
   * Anything else is tried again by itself.
   */
  readonly onRefused?: (error: OperatingError) => void;
  /**
   * Called when placement knows another disk under the node's id. Resolves with the incarnation to register
   * with from now on, at least `incarnationMin` and durable; undefined when the node cannot have another one.
   */
  readonly onOtherDisk?: (incarnationMin: number) => Promise<number | undefined>;
}

/** The lease lasts 2.5 s (docs/design.md, section 5). */
const renewEachMs = 500;
/** A placement that does not answer for so long is given up, and the next is tried. */
const silenceMaxMs = 3_000;
/** How long the end of the stream may take when the node leaves. */
const endMaxMs = 500;

/**
 * Keeps a node registered: one heartbeat stream on connections of its own, renewed each second, for
 * ever taken up again when it breaks, until it is disposed or refused for good.
 */
export class NodeRegistration implements AsyncDisposable {
  readonly #options: NodeRegistrationOptions;
  readonly #logger: Logger;
  readonly #servers: PlacementServers;
  readonly #backoff: Backoff;
  #stream: MessageStream<HeartbeatRequest> | undefined;
  #client: RpcClient | undefined;
  #cancelTimer: CancelTimer | undefined;
  #whenClosed: (() => void) | undefined;
  #lastAnswerMs = 0;
  #node: Node;
  #clusterId: string;
  #placementEpoch: number;
  #health: JournalHealth | undefined;
  #draining = false;
  #registered = false;
  #ended = false;

  constructor(options: NodeRegistrationOptions) {
    this.#options = options;
    this.#logger = options.logger ?? silentLogger();
    this.#servers = new PlacementServers(options.transport, options.placement, options.clock);
    this.#backoff = new Backoff(options.random);
    this.#node = options.node;
    this.#clusterId = options.clusterId;
    this.#placementEpoch = options.placementEpoch;
  }

  /** The cluster; empty until the first registration ever. */
  get clusterId(): string {
    return this.#clusterId;
  }

  /** Highest placement epoch seen. Orders with a lower one are to be refused. */
  get placementEpoch(): number {
    return this.#placementEpoch;
  }

  /** Whether placement has accepted the node on the stream that is open now. */
  get registered(): boolean {
    return this.#registered;
  }

  start(): void {
    const client = this.#servers.current;
    this.#client = client;
    this.#lastAnswerMs = this.#options.clock.monotonicMs();
    this.#stream = client.open(placementNodeMethods.heartbeat, {
      message: (response) => this.#onAnswer(response),
      closed: (error) => this.#onClosed(client, error),
    });
    this.#beat(this.#node);
  }

  /** Health that goes with the next heartbeat. */
  update(health: JournalHealth): void {
    this.#health = health;
  }

  /** The server that has accepted the node is not the one that decides: another one is tried. */
  leave(error: OperatingError): void {
    this.#stream?.cancel(error);
  }

  /** Tells placement at once that the node leaves: it keeps its lease but gets nothing new. */
  drain(): void {
    this.#draining = true;
    if (this.#registered) this.#send(undefined);
  }

  /** Ends the stream in order, so that the lease ends at once. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#end();
    if (this.#stream !== undefined) await this.#endInOrder(this.#stream);
    await this.#servers[Symbol.asyncDispose]();
  }

  /** Placement has to see the end before the connection goes; it is not waited for very long. */
  async #endInOrder(stream: MessageStream<HeartbeatRequest>): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#whenClosed = resolve;
    this.#send(undefined, true);
    stream.end();
    const cancelTimer = this.#options.clock.setTimer(endMaxMs, resolve);
    await promise;
    cancelTimer();
  }

  #beat(node: Node | undefined): void {
    const { clock } = this.#options;
    if (clock.monotonicMs() - this.#lastAnswerMs > silenceMaxMs) {
      this.#stream?.cancel(new OperatingError('UNAVAILABLE', 'placement does not answer'));
      return;
    }
    this.#send(node);
    this.#cancelTimer = clock.setTimer(renewEachMs, () => this.#beat(undefined));
  }

  #send(node: Node | undefined, leaving = false): void {
    const { coordinatorKinds = [] } = this.#options;
    this.#stream?.send({
      clusterId: this.#clusterId,
      node,
      coordinatorKinds: node === undefined ? [] : [...coordinatorKinds],
      placementEpoch: this.#placementEpoch,
      journalHealth: this.#health,
      draining: this.#draining,
      leaving,
    });
  }

  #onAnswer(answer: HeartbeatResponse): void {
    if (this.#ended) return;
    this.#lastAnswerMs = this.#options.clock.monotonicMs();
    const refusal = this.#refusalOf(answer);
    if (refusal !== undefined) {
      if (answer.incarnationMin > 0) void this.#raiseIncarnation(answer.incarnationMin);
      this.#onRefusal(refusal);
      return;
    }
    this.#clusterId = answer.clusterId;
    this.#placementEpoch = answer.placementEpoch;
    if (this.#registered) return;
    this.#registered = true;
    this.#servers.answered();
    this.#backoff.reset();
    const { clusterId, placementEpoch, leaseMs } = answer;
    this.#logger.info({ clusterId, placementEpoch, leaseMs }, 'registered with placement');
    this.#options.onRegistered?.({ clusterId, placementEpoch, leaseMs });
  }

  /** The attempts go on meanwhile; one of them has it. */
  async #raiseIncarnation(incarnationMin: number): Promise<void> {
    const incarnation = await this.#options.onOtherDisk?.(incarnationMin);
    if (incarnation !== undefined) this.#node = { ...this.#node, incarnation };
  }

  #refusalOf(answer: HeartbeatResponse): OperatingError | undefined {
    if (answer.status !== undefined && answer.status.code !== 0)
      return errorOfStatus(answer.status);
    if (this.#clusterId !== '' && answer.clusterId !== this.#clusterId) {
      const message = `placement serves cluster ${answer.clusterId}, this node belongs to ${this.#clusterId}: check --placement and --data-dir`;
      return new OperatingError('WRONG_CLUSTER', message);
    }
    if (answer.placementEpoch >= this.#placementEpoch) return undefined;
    return oldPlacement(
      `placement has epoch ${answer.placementEpoch}, this node has seen ${this.#placementEpoch}`,
    );
  }

  #onRefusal(error: OperatingError): void {
    if (error.code === 'UNAVAILABLE') {
      // Its store takes nothing, or another server decides from now on.
      this.#stream?.cancel(error);
      return;
    }
    const final = error.code === 'WRONG_CLUSTER' || error.code === 'FENCED';
    this.#registered = false;
    if (final) this.#end();
    this.#logger.error({ code: error.code }, error.message);
    this.#options.onRefused?.(error);
    this.#stream?.cancel();
  }

  #onClosed(client: RpcClient, error: OperatingError | undefined): void {
    if (client !== this.#client) return;
    if (this.#ended) {
      this.#stream = undefined;
      this.#whenClosed?.();
      return;
    }
    if (this.#registered) {
      this.#logger.warn({ placement: client.address, error: error?.message }, 'placement lost');
    }
    this.#registered = false;
    this.#stream = undefined;
    this.#client = undefined;
    this.#cancelTimer?.();
    const atOnce = this.#servers.leave(client, error);
    const delayMs = atOnce ? 0 : this.#backoff.after(error);
    this.#cancelTimer = this.#options.clock.setTimer(delayMs, () => this.start());
  }

  #end(): void {
    this.#ended = true;
    this.#registered = false;
    this.#cancelTimer?.();
  }
}
