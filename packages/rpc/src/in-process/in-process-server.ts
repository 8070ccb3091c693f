import { type Clock, OperatingError } from '@robustmq/core';
import { type BugHandler, isBug } from '../bug.ts';
import { checkMessageSize } from '../message-size.ts';
import type {
  Method,
  RpcServer,
  ServiceRegistry,
  StreamHandler,
  UnaryHandler,
} from '../transport.ts';
import type { ServerEnd } from './in-process-stream.ts';
import { messageWeight } from './message-weight.ts';

export interface InProcessServerOptions {
  readonly clock: Clock;
  readonly graceMs: number;
  readonly onBug: BugHandler;
}

/** A server that is reached by its address within one network of queues. */
export class InProcessServer implements RpcServer, ServiceRegistry {
  readonly address: string;
  readonly #options: InProcessServerOptions;
  readonly #stopListening: () => void;
  // Handlers by path: the path says what their messages are.
  readonly #unary = new Map<string, UnaryHandler<never, unknown>>();
  readonly #stream = new Map<string, StreamHandler<never, never>>();
  readonly #open = new Set<(error: OperatingError) => void>();
  #closing: Promise<void> | undefined;
  #idle: (() => void) | undefined;

  constructor(address: string, options: InProcessServerOptions, stopListening: () => void) {
    this.address = address;
    this.#options = options;
    this.#stopListening = stopListening;
  }

  unary<Request, Response>(
    method: Method<Request, Response>,
    handler: UnaryHandler<Request, Response>,
  ): void {
    this.#unary.set(method.path, handler);
  }

  stream<Request, Response>(
    method: Method<Request, Response>,
    handler: StreamHandler<Request, Response>,
  ): void {
    this.#stream.set(method.path, handler);
  }

  /**
   * Serves one call: resolves or rejects with what the handler did. A handler that has run into a
   * bug answers nothing.
   */
  async call<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    signal: AbortSignal,
  ): Promise<Response> {
    const handler = this.#unary.get(method.path) as UnaryHandler<Request, Response> | undefined;
    if (handler === undefined) throw unsupported(method.path, this.address);
    const { promise, resolve, reject } = Promise.withResolvers<Response>();
    this.#open.add(reject);
    try {
      const response = await Promise.race([
        handler(request, { peer: 'in-process', signal }),
        promise,
      ]);
      checkMessageSize(method.path, messageWeight(response));
      resolve(response);
    } catch (thrown) {
      if (!isBug(thrown, this.#options.onBug)) reject(thrown);
    } finally {
      this.#over(reject);
    }
    return promise;
  }

  /** Serves one stream. */
  accept<Request, Response>(path: string, stream: ServerEnd<Request, Response>): void {
    const handler = this.#stream.get(path) as StreamHandler<Request, Response> | undefined;
    if (handler === undefined) {
      stream.cancel(unsupported(path, this.address));
      return;
    }
    const cancel = (error: OperatingError): void =>
      stream.cancel(new OperatingError('UNAVAILABLE', error.message));
    this.#open.add(cancel);
    stream.accept(handler, () => this.#over(cancel));
  }

  #over(call: (error: OperatingError) => void): void {
    this.#open.delete(call);
    if (this.#open.size === 0) this.#idle?.();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#stopListening();
    if (this.#open.size > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#idle = resolve;
      const cancelTimer = this.#options.clock.setTimer(this.#options.graceMs, resolve);
      await promise;
      cancelTimer();
    }
    const error = new OperatingError('INDETERMINATE', `the server ${this.address} has shut down`);
    for (const end of this.#open) end(error);
  }
}

function unsupported(path: string, address: string): OperatingError {
  return new OperatingError('UNSUPPORTED', `${address} does not serve ${path}`);
}
