import { OperatingError, toOperatingError } from '@robustmq/core';
import { type BugHandler, isBug } from '../bug.ts';
import { checkMessageSize } from '../message-size.ts';
import type { CallContext, MessageStream, StreamHandler, StreamHandlers } from '../transport.ts';
import { messageWeight } from './message-weight.ts';
import { Pipe, type PipeBounds } from './pipe.ts';

export interface InProcessStreamOptions {
  readonly path: string;
  readonly bounds: PipeBounds;
  readonly onBug: BugHandler;
}

/** What the two ends of a stream have in common. */
abstract class StreamEnd<Sent, Received> implements MessageStream<Sent> {
  protected readonly options: InProcessStreamOptions;
  protected handlers: StreamHandlers<Received> | undefined;
  /** This side sends no more. */
  protected ended = false;
  /** The handlers were told that no more comes, or soon will be. */
  protected closed = false;

  constructor(options: InProcessStreamOptions) {
    this.options = options;
  }

  protected abstract outgoing(): Pipe<Sent>;
  abstract end(): void;
  abstract cancel(error?: OperatingError): void;

  send(message: Sent): boolean {
    if (this.ended) return true;
    const bytes = messageWeight(message);
    try {
      checkMessageSize(this.options.path, bytes);
    } catch (thrown) {
      this.cancel(toOperatingError(thrown));
      return true;
    }
    return this.outgoing().send(message, bytes);
  }

  receive(message: Received): void {
    if (this.closed) return;
    try {
      this.handlers?.message(message);
    } catch (thrown) {
      this.failed(thrown);
    }
  }

  drained(): void {
    if (!this.ended) this.handlers?.drain?.();
  }

  protected failed(thrown: unknown): void {
    if (!isBug(thrown, this.options.onBug)) this.cancel(toOperatingError(thrown));
  }

  protected close(error: OperatingError | undefined): void {
    if (this.closed) return;
    this.closed = true;
    // In a microtask: never from within a call of the stream's owner.
    queueMicrotask(() => this.handlers?.closed(error));
  }

  protected cancelledBy(side: string): OperatingError {
    return new OperatingError('CANCELLED', `${this.options.path}: cancelled by the ${side}`);
  }
}

/** The client's end; it brings the server's with it. */
export class ClientEnd<Request, Response> extends StreamEnd<Request, Response> {
  readonly server: ServerEnd<Request, Response>;
  readonly #outgoing: Pipe<Request>;
  readonly #onOver: (stream: ClientEnd<Request, Response>) => void;

  constructor(
    options: InProcessStreamOptions,
    handlers: StreamHandlers<Response>,
    onOver: (stream: ClientEnd<Request, Response>) => void,
  ) {
    super(options);
    this.handlers = handlers;
    this.#onOver = onOver;
    this.server = new ServerEnd<Request, Response>(options, this);
    this.#outgoing = new Pipe<Request>(options.bounds, {
      message: (message) => this.server.receive(message),
      ended: (error) => this.server.callerEnded(error),
      drained: () => this.drained(),
    });
  }

  protected outgoing(): Pipe<Request> {
    return this.#outgoing;
  }

  end(): void {
    if (this.ended) return;
    this.ended = true;
    this.#outgoing.end();
  }

  cancel(error?: OperatingError): void {
    if (this.closed) return;
    this.#outgoing.break(this.cancelledBy('client'));
    this.over(error ?? this.cancelledBy('client'));
  }

  /** The stream is over on both sides. */
  over(error: OperatingError | undefined): void {
    this.ended = true;
    this.#onOver(this);
    this.close(error);
  }
}

/** The server's end. */
export class ServerEnd<Request, Response> extends StreamEnd<Response, Request> {
  readonly #outgoing: Pipe<Response>;
  readonly #gone = new AbortController();
  #onOver: (() => void) | undefined;

  constructor(options: InProcessStreamOptions, client: ClientEnd<Request, Response>) {
    super(options);
    this.#outgoing = new Pipe<Response>(options.bounds, {
      message: (message) => client.receive(message),
      ended: (error) => client.over(error),
      drained: () => this.drained(),
    });
  }

  protected outgoing(): Pipe<Response> {
    return this.#outgoing;
  }

  /** Lets `handler` take the stream; `onOver` is told when the server is through with it. */
  accept(handler: StreamHandler<Request, Response>, onOver: () => void): void {
    this.#onOver = onOver;
    const context: CallContext = { peer: 'in-process', signal: this.#gone.signal };
    try {
      this.handlers = handler(this, context);
    } catch (thrown) {
      this.failed(thrown);
    }
  }

  end(): void {
    if (this.ended) return;
    this.#outgoing.end();
    this.#over(undefined);
  }

  cancel(error?: OperatingError): void {
    if (this.ended) return;
    const told = error ?? this.cancelledBy('server');
    this.#outgoing.end(told);
    this.#over(told);
  }

  /** The client has ended its side, or has gone when there is an error. */
  callerEnded(error: OperatingError | undefined): void {
    if (error === undefined || this.ended) {
      this.close(error);
      return;
    }
    this.#outgoing.close();
    this.#over(error);
    this.#gone.abort(error);
  }

  #over(error: OperatingError | undefined): void {
    this.ended = true;
    this.#onOver?.();
    this.close(error);
  }
}
