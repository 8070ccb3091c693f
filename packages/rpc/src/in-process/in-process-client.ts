import { type Clock, OperatingError, toOperatingError, TurnTask } from '@robustmq/core';
import { checkMessageSize } from '../message-size.ts';
import type {
  CallOptions,
  MessageStream,
  Method,
  RpcClient,
  StreamHandlers,
} from '../transport.ts';
import type { InProcessServer } from './in-process-server.ts';
import { ClientEnd, type InProcessStreamOptions } from './in-process-stream.ts';
import { messageWeight } from './message-weight.ts';

export interface InProcessClientOptions extends Omit<InProcessStreamOptions, 'path'> {
  readonly clock: Clock;
  readonly callTimeoutMs: number;
  /** Who listens on an address now. */
  readonly find: (address: string) => InProcessServer | undefined;
}

/** What has to be ended when the client is disposed. */
interface Open {
  cancel(error: OperatingError): void;
}

/** A connection within one network of queues. */
export class InProcessClient implements RpcClient {
  readonly address: string;
  readonly #options: InProcessClientOptions;
  readonly #open = new Set<Open>();
  #disposed = false;

  constructor(address: string, options: InProcessClientOptions) {
    this.address = address;
    this.#options = options;
  }

  async call<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    options: CallOptions = {},
  ): Promise<Response> {
    if (this.#disposed) throw this.#closedError();
    if (options.signal?.aborted === true) throw aborted(method.path);
    checkMessageSize(method.path, messageWeight(request));
    const { promise, resolve, reject } = Promise.withResolvers<Response>();
    const gone = new AbortController();
    const open: Open = {
      cancel(error) {
        reject(error);
        gone.abort(error);
      },
    };
    const onAbort = (): void => open.cancel(aborted(method.path));
    const timeoutMs = options.timeoutMs ?? this.#options.callTimeoutMs;
    const cancelTimer = this.#options.clock.setTimer(timeoutMs, () =>
      open.cancel(timedOut(method.path, timeoutMs)),
    );
    options.signal?.addEventListener('abort', onAbort, { once: true });
    this.#open.add(open);
    later(() => {
      this.#ask(method, request, gone.signal).then(
        (response) => later(() => resolve(response)),
        (thrown: unknown) => later(() => reject(toOperatingError(thrown))),
      );
    });
    try {
      return await promise;
    } finally {
      this.#open.delete(open);
      cancelTimer();
      options.signal?.removeEventListener('abort', onAbort);
    }
  }

  async #ask<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    signal: AbortSignal,
  ): Promise<Response> {
    const server = this.#options.find(this.address);
    if (server === undefined) throw this.#refusedError();
    return server.call(method, request, signal);
  }

  open<Request, Response>(
    method: Method<Request, Response>,
    handlers: StreamHandlers<Response>,
  ): MessageStream<Request> {
    const { bounds, onBug } = this.#options;
    const stream = new ClientEnd<Request, Response>(
      { path: method.path, bounds, onBug },
      handlers,
      (over) => this.#open.delete(over),
    );
    if (this.#disposed) {
      stream.over(this.#closedError());
      return stream;
    }
    this.#open.add(stream);
    later(() => {
      const server = this.#options.find(this.address);
      if (server === undefined) stream.over(this.#refusedError());
      else server.accept(method.path, stream.server);
    });
    return stream;
  }

  // oxlint-disable-next-line typescript/require-await -- an interface for clients that have to wait
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const open of this.#open) open.cancel(this.#closedError());
  }

  #closedError(): OperatingError {
    return new OperatingError('CANCELLED', `the client of ${this.address} was closed here`);
  }

  #refusedError(): OperatingError {
    return new OperatingError('UNAVAILABLE', `nobody listens on ${this.address}`);
  }
}

/** In a later turn of the event loop. */
function later(work: () => void): void {
  new TurnTask(work).schedule();
}

function aborted(path: string): OperatingError {
  return new OperatingError('CANCELLED', `${path}: the caller gave up`);
}

function timedOut(path: string, timeoutMs: number): OperatingError {
  return new OperatingError('INDETERMINATE', `${path}: no answer within ${timeoutMs} ms`);
}
