import type { OperatingError } from '@robustmq/core';
import type { PeerIdentity } from './tls/peer-identity.ts';

/**
 * A method as ts-proto describes it for grpc-js. Hot methods replace the four functions by
 * hand-written ones that agree with the generated code byte for byte.
 */
export interface Method<Request, Response> {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly requestSerialize: (value: Request) => Buffer;
  readonly requestDeserialize: (bytes: Buffer) => Request;
  readonly responseSerialize: (value: Response) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Response;
}

/**
 * What one end of a stream is told, never from within a call of its own. After `closed` no message
 * comes; a server that goes on sending after the client has ended may still be told `drain`.
 */
export interface StreamHandlers<Received> {
  /**
   * A message has arrived. Buffers in it may be views: they are the receiver's, and live until it
   * lets go of them. Throwing ends the stream with the thrown error.
   */
  message(message: Received): void;
  /** `send` may be used again after it returned false. */
  drain?(): void;
  /**
   * Called exactly once, also after this end has ended or cancelled the stream. In order (`error`
   * undefined: the other end has ended, or the server has), or not. Must not throw.
   */
  closed(error: OperatingError | undefined): void;
}

/** One end of an open stream. */
export interface MessageStream<Sent> {
  /**
   * Sends a message and gives away every buffer in it. False means: stop until `drain`.
   * After the stream is closed it does nothing and returns true. A message above the limit cancels
   * the stream with BATCH_TOO_LARGE.
   */
  send(message: Sent): boolean;
  /**
   * Ends this side. A server may go on sending after the client has ended; when the server ends,
   * the stream is over for both.
   */
  end(): void;
  /**
   * Ends both sides. A server's client is told `error`, or CANCELLED, behind what was sent before; a
   * client's server is told CANCELLED (gRPC has no words for more), and what was sent may be lost.
   */
  cancel(error?: OperatingError): void;
}

export interface CallOptions {
  /** Fails the call with INDETERMINATE after so many ms. Default 10,000. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** A connection to one server. It connects by itself, and again after it was lost. */
export interface RpcClient extends AsyncDisposable {
  readonly address: string;
  /**
   * Calls a unary method. Rejects with an OperatingError; UNAVAILABLE means that it was not done,
   * INDETERMINATE that nobody knows (no answer in time, or the connection was lost under way).
   */
  call<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    options?: CallOptions,
  ): Promise<Response>;
  /**
   * Opens a stream. It is usable at once; a server that is not there closes it with UNAVAILABLE.
   */
  open<Request, Response>(
    method: Method<Request, Response>,
    handlers: StreamHandlers<Response>,
  ): MessageStream<Request>;
}

/** Who calls. */
export interface CallContext {
  /** HOST:PORT of the caller, or `in-process`. */
  readonly peer: string;
  /** Who its certificate says that it is; undefined without TLS. */
  readonly caller?: PeerIdentity | undefined;
  /** Aborts when the caller has gone. */
  readonly signal: AbortSignal;
}

export type UnaryHandler<Request, Response> = (
  request: Request,
  context: CallContext,
) => Promise<Response> | Response;

/** Called once per stream; returns what to do with its messages. */
export type StreamHandler<Request, Response> = (
  stream: MessageStream<Response>,
  context: CallContext,
) => StreamHandlers<Request>;

/** Collects the implementations of a server's methods before it listens. */
export interface ServiceRegistry {
  unary<Request, Response>(
    method: Method<Request, Response>,
    handler: UnaryHandler<Request, Response>,
  ): void;
  stream<Request, Response>(
    method: Method<Request, Response>,
    handler: StreamHandler<Request, Response>,
  ): void;
}

/** A server that listens. Disposing refuses new calls, and ends the open ones after a grace time. */
export interface RpcServer extends AsyncDisposable {
  /** HOST:PORT that it listens on, with the port that was really taken. */
  readonly address: string;
}

/**
 * `bulk` carries appends, reads and tails, `replication` what a leader sends to a follower, and `control`
 * everything that must never wait behind them (heartbeats, orders, watches): each has connections of its own.
 */
export type ChannelKind = 'bulk' | 'replication' | 'control';

/** Makes connections and servers: gRPC between processes, or queues within one. */
export interface Transport {
  connect(address: string, kind: ChannelKind): RpcClient;
  /** Listens on HOST:PORT; port 0 takes a free one. `register` adds the services. */
  listen(address: string, register: (registry: ServiceRegistry) => void): Promise<RpcServer>;
}
