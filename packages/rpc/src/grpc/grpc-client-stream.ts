import { AssertionFailure, OperatingError, toOperatingError } from '@robustmq/core';
import type { ClientDuplexStream, ServiceError } from '@grpc/grpc-js';
import { type BugHandler, isBug } from '../bug.ts';
import type { MessageStream, Method, StreamHandlers } from '../transport.ts';
import { operatingErrorOf } from './grpc-error.ts';
import { deserialize, serialize } from './raw-message.ts';
import { type SendBounds, SendWindow } from './send-window.ts';

export interface GrpcStreamOptions {
  readonly bounds: SendBounds;
  readonly onBug: BugHandler;
}

/** The client's end of a stream. */
export class GrpcClientStream<Request, Response> implements MessageStream<Request> {
  readonly #method: Method<Request, Response>;
  readonly #handlers: StreamHandlers<Response>;
  readonly #call: ClientDuplexStream<Buffer, Buffer>;
  readonly #options: GrpcStreamOptions;
  readonly #window: SendWindow;
  readonly #onClosed: (stream: GrpcClientStream<Request, Response>) => void;
  #closed = false;
  #ended = false;

  /** `onClosed` is told before the handlers are. */
  constructor(
    method: Method<Request, Response>,
    handlers: StreamHandlers<Response>,
    call: ClientDuplexStream<Buffer, Buffer>,
    options: GrpcStreamOptions,
    onClosed: (stream: GrpcClientStream<Request, Response>) => void,
  ) {
    this.#method = method;
    this.#handlers = handlers;
    this.#call = call;
    this.#options = options;
    this.#onClosed = onClosed;
    this.#window = new SendWindow(options.bounds, this.#drained);
    call.on('data', this.#message);
    call.on('end', () => this.#close(undefined));
    call.on('error', (error: ServiceError) => this.#close(operatingErrorOf(error, false)));
  }

  send(message: Request): boolean {
    if (this.#closed || this.#ended) return true;
    let bytes: Buffer;
    try {
      bytes = serialize(this.#method.path, this.#method.requestSerialize, message);
    } catch (thrown) {
      if (thrown instanceof AssertionFailure) throw thrown;
      this.cancel(toOperatingError(thrown));
      return true;
    }
    const goOn = this.#window.add(bytes.length);
    this.#call.write(bytes, this.#window.written);
    return goOn;
  }

  end(): void {
    if (this.#closed || this.#ended) return;
    this.#ended = true;
    this.#call.end();
  }

  cancel(error?: OperatingError): void {
    if (this.#closed) return;
    this.#close(error ?? new OperatingError('CANCELLED', `${this.#method.path}: cancelled here`));
    this.#call.cancel();
  }

  readonly #message = (bytes: Buffer): void => {
    if (this.#closed) return;
    try {
      this.#handlers.message(
        deserialize(this.#method.path, this.#method.responseDeserialize, bytes),
      );
    } catch (thrown) {
      if (!isBug(thrown, this.#options.onBug)) this.cancel(toOperatingError(thrown));
    }
  };

  readonly #drained = (): void => {
    if (!this.#closed && !this.#ended) this.#handlers.drain?.();
  };

  #close(error: OperatingError | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#onClosed(this);
    // In a microtask: never from within a call of the stream's owner.
    queueMicrotask(() => this.#handlers.closed(error));
  }
}
