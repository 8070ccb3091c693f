import { OperatingError } from '@robustmq/core';
import {
  journalBrokerMethods,
  type MessageStream,
  type ReadRequest,
  type ReadResponse,
  refusalOf,
  type RpcClient,
} from '@robustmq/rpc';

/** What to read; the stream adds the id. */
export type ReadOrder = Omit<ReadRequest, 'readId' | 'cancel'>;

interface Waiting {
  readonly resolve: (response: ReadResponse) => void;
  readonly reject: (error: unknown) => void;
}

/** The reads at one journal. Opens by itself, and again after it was lost. */
export class ReadStream {
  readonly #client: RpcClient;
  readonly #onLost: (error: OperatingError) => void;
  readonly #waiting = new Map<number, Waiting>();
  /** What has to wait for the transport's `drain`. */
  #unsent: ReadRequest[] = [];
  #stream: MessageStream<ReadRequest> | undefined;
  #blocked = false;
  #lastId = 0;

  constructor(client: RpcClient, onLost: (error: OperatingError) => void) {
    this.#client = client;
    this.#onLost = onLost;
  }

  /** Reads once. Rejects with the journal's refusal, UNAVAILABLE, or the signal's reason. */
  read(order: ReadOrder, signal: AbortSignal | undefined): Promise<ReadResponse> {
    const readId = ++this.#lastId;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const onAbort = (): void => {
        if (this.#take(readId) === undefined) return;
        this.#send({ ...order, readId, cancel: true });
        reject(signal?.reason);
      };
      const end = (): void => signal?.removeEventListener('abort', onAbort);
      this.#waiting.set(readId, {
        resolve: (response) => {
          end();
          resolve(response);
        },
        reject: (error) => {
          end();
          reject(error);
        },
      });
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#send({ ...order, readId, cancel: false });
    });
  }

  close(): void {
    this.#stream?.cancel();
  }

  #send(request: ReadRequest): void {
    this.#stream ??= this.#open();
    if (this.#blocked) this.#unsent.push(request);
    else this.#blocked = !this.#stream.send(request);
  }

  #open(): MessageStream<ReadRequest> {
    this.#blocked = false;
    const stream: MessageStream<ReadRequest> = this.#client.open(journalBrokerMethods.read, {
      message: (response) => this.#onResponse(response),
      drain: () => this.#onDrain(),
      closed: (error) => this.#onClosed(stream, error),
    });
    return stream;
  }

  #onDrain(): void {
    this.#blocked = false;
    const unsent = this.#unsent;
    this.#unsent = [];
    for (const request of unsent) this.#send(request);
  }

  #onResponse(response: ReadResponse): void {
    const waiting = this.#take(response.readId);
    if (waiting === undefined) return;
    const refusal = refusalOf(response.status);
    if (refusal === undefined) waiting.resolve(response);
    else waiting.reject(refusal);
  }

  #onClosed(stream: MessageStream<ReadRequest>, error: OperatingError | undefined): void {
    if (stream !== this.#stream) return;
    this.#stream = undefined;
    this.#unsent = [];
    const reason =
      error ??
      new OperatingError('UNAVAILABLE', `journal ${this.#client.address} ended the read stream`);
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    this.#onLost(reason);
    for (const read of waiting) read.reject(reason);
  }

  #take(readId: number): Waiting | undefined {
    const waiting = this.#waiting.get(readId);
    this.#waiting.delete(readId);
    return waiting;
  }
}
