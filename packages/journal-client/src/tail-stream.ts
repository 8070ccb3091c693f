import { OperatingError } from '@robustmq/core';
import {
  journalBrokerMethods,
  type MessageStream,
  type RpcClient,
  type TailChunk,
  type TailClose,
  type TailOpen,
  type TailRequest,
  type TailResponse,
} from '@robustmq/rpc';
import type { ClientTurn } from './client-turn.ts';

/** What to follow; the stream adds the id. */
export type TailOrder = Omit<TailOpen, 'tailId'>;

/** Told what comes of one tail. */
export interface TailSink {
  chunk(chunk: TailChunk): void;
  streamLost(error: OperatingError): void;
}

/**
 * The tails at one journal. They share one credit: what has been taken is granted again at the end of
 * the turn, also for tails that were closed meanwhile, so that none of them can use it up.
 */
export class TailStream {
  readonly #client: RpcClient;
  readonly #turn: ClientTurn;
  readonly #creditBytes: number;
  readonly #onLost: (error: OperatingError) => void;
  readonly #sinks = new Map<number, TailSink>();
  #stream: MessageStream<TailRequest> | undefined;
  #opens: TailOpen[] = [];
  #closes: TailClose[] = [];
  #grantBytes = 0;
  #blocked = false;
  #lastId = 0;

  constructor(
    client: RpcClient,
    turn: ClientTurn,
    creditBytes: number,
    onLost: (error: OperatingError) => void,
  ) {
    this.#client = client;
    this.#turn = turn;
    this.#creditBytes = creditBytes;
    this.#onLost = onLost;
  }

  /** Begins a tail at the end of the turn and returns its id, unique in this process and journal. */
  open(order: TailOrder, sink: TailSink): number {
    this.#stream ??= this.#connect();
    const tailId = ++this.#lastId;
    this.#sinks.set(tailId, sink);
    this.#opens.push({ ...order, tailId });
    this.#turn.addStream(this);
    return tailId;
  }

  /** Ends a tail; its sink is not called any more. */
  end(tailId: number): void {
    if (!this.#sinks.delete(tailId)) return;
    const unsent = this.#opens.findIndex((open) => open.tailId === tailId);
    if (unsent === -1) this.#closes.push({ tailId });
    else this.#opens.splice(unsent, 1);
    this.#turn.addStream(this);
  }

  endOfTurn(): void {
    if (this.#blocked || this.#stream === undefined) return;
    if (this.#opens.length === 0 && this.#closes.length === 0 && this.#grantBytes === 0) return;
    const request: TailRequest = {
      opens: this.#opens,
      closes: this.#closes,
      creditBytes: this.#grantBytes,
    };
    this.#opens = [];
    this.#closes = [];
    this.#grantBytes = 0;
    this.#blocked = !this.#stream.send(request);
  }

  close(): void {
    this.#stream?.cancel();
  }

  #connect(): MessageStream<TailRequest> {
    this.#blocked = false;
    this.#grantBytes = this.#creditBytes;
    const stream: MessageStream<TailRequest> = this.#client.open(journalBrokerMethods.tail, {
      message: (response) => this.#onResponse(response),
      drain: () => {
        this.#blocked = false;
        this.endOfTurn();
      },
      closed: (error) => this.#onClosed(stream, error),
    });
    return stream;
  }

  #onResponse(response: TailResponse): void {
    for (const chunk of response.chunks) {
      this.#grantBytes += chunk.frames.length;
      const sink = this.#sinks.get(chunk.tailId);
      if (sink === undefined) continue;
      if (chunk.segmentEnded || (chunk.status !== undefined && chunk.status.code !== 0)) {
        this.#sinks.delete(chunk.tailId);
      }
      sink.chunk(chunk);
    }
    this.#turn.addStream(this);
  }

  #onClosed(stream: MessageStream<TailRequest>, error: OperatingError | undefined): void {
    if (stream !== this.#stream) return;
    this.#stream = undefined;
    this.#opens = [];
    this.#closes = [];
    const reason =
      error ??
      new OperatingError('UNAVAILABLE', `journal ${this.#client.address} ended the tail stream`);
    const sinks = [...this.#sinks.values()];
    this.#sinks.clear();
    this.#onLost(reason);
    for (const sink of sinks) sink.streamLost(reason);
  }
}
