import { AssertionFailure, OperatingError, toOperatingError, TurnTask } from '@robustmq/core';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import { isBug } from '../bug.ts';
import type {
  CallContext,
  MessageStream,
  Method,
  StreamHandler,
  StreamHandlers,
} from '../transport.ts';
import type { PeerIdentity } from '../tls/peer-identity.ts';
import type { GrpcStreamOptions } from './grpc-client-stream.ts';
import { serviceErrorOf } from './grpc-error.ts';
import { deserialize, serialize } from './raw-message.ts';
import { SendWindow } from './send-window.ts';

/** The server's end of a stream. */
export class GrpcServerStream<Request, Response> implements MessageStream<Response> {
  readonly #method: Method<Request, Response>;
  readonly #call: ServerDuplexStream<Buffer, Buffer>;
  readonly #options: GrpcStreamOptions;
  readonly #window: SendWindow;
  readonly #gone = new AbortController();
  #handlers: StreamHandlers<Request> | undefined;
  /** The handlers were told that no more comes, or soon will be. */
  #closed = false;
  /** This side has ended or cancelled: the call is over. */
  #ended = false;

  constructor(
    method: Method<Request, Response>,
    call: ServerDuplexStream<Buffer, Buffer>,
    options: GrpcStreamOptions,
  ) {
    this.#method = method;
    this.#call = call;
    this.#options = options;
    this.#window = new SendWindow(options.bounds, this.#drained);
  }

  /** Lets `handler` take the stream; `onOver` is told when the call is over. */
  accept(
    handler: StreamHandler<Request, Response>,
    caller: PeerIdentity | undefined,
    onOver: () => void,
  ): void {
    const { signal } = this.#gone;
    const context: CallContext = { peer: this.#call.getPeer(), signal, caller };
    this.#call.on('close', onOver);
    this.#call.on('cancelled', this.#callerGone);
    try {
      this.#handlers = handler(this, context);
    } catch (thrown) {
      this.#failed(thrown);
      return;
    }
    // A cancelled stream ends, too, and tells in the same turn that it was cancelled.
    const halfClosed = new TurnTask(() => this.#close(undefined));
    this.#call.on('end', () => halfClosed.schedule());
    this.#call.on('data', this.#message);
  }

  send(message: Response): boolean {
    if (this.#ended || this.#gone.signal.aborted) return true;
    let bytes: Buffer;
    try {
      bytes = serialize(this.#method.path, this.#method.responseSerialize, message);
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
    if (this.#ended) return;
    this.#ended = true;
    this.#call.end();
    this.#close(undefined);
  }

  cancel(error?: OperatingError): void {
    if (this.#ended) return;
    this.#ended = true;
    const told =
      error ?? new OperatingError('CANCELLED', `${this.#method.path}: cancelled by the server`);
    // The way of grpc-js to end a stream with a status, behind what was written before.
    this.#call.emit('error', serviceErrorOf(told));
    this.#close(told);
  }

  readonly #message = (bytes: Buffer): void => {
    if (this.#closed) return;
    try {
      this.#handlers?.message(
        deserialize(this.#method.path, this.#method.requestDeserialize, bytes),
      );
    } catch (thrown) {
      this.#failed(thrown);
    }
  };

  #failed(thrown: unknown): void {
    if (!isBug(thrown, this.#options.onBug)) this.cancel(toOperatingError(thrown));
  }

  readonly #drained = (): void => {
    if (!this.#ended && !this.#gone.signal.aborted) this.#handlers?.drain?.();
  };

  readonly #callerGone = (): void => {
    if (this.#ended) return; // grpc-js says so at the end of every call.
    const error = new OperatingError('CANCELLED', `${this.#method.path}: the caller has gone`);
    this.#close(error);
    this.#gone.abort(error);
  };

  #close(error: OperatingError | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    // In a microtask: never from within a call of the stream's owner.
    queueMicrotask(() => this.#handlers?.closed(error));
  }
}
