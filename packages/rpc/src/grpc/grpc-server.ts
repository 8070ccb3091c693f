import { type Clock, delay, OperatingError, toOperatingError } from '@robustmq/core';
import {
  type sendUnaryData,
  Server,
  type ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
} from '@grpc/grpc-js';
import { isBug } from '../bug.ts';
import type {
  CallContext,
  Method,
  RpcServer,
  ServiceRegistry,
  StreamHandler,
  UnaryHandler,
} from '../transport.ts';
import type { CallGuard } from '../tls/call-guard.ts';
import type { PeerIdentity } from '../tls/peer-identity.ts';
import type { GrpcStreamOptions } from './grpc-client-stream.ts';
import { serviceErrorOf } from './grpc-error.ts';
import { flowControlWindowBytes, serverOptions } from './grpc-options.ts';
import { ServerConnections } from './server-connections.ts';
import { GrpcServerStream } from './grpc-server-stream.ts';
import { raiseServerWindow, raiseSessionWindows } from './grpc-server-window.ts';
import { watchHandshakes } from './watch-handshakes.ts';
import { deserialize, raw, serialize } from './raw-message.ts';

export interface GrpcServerOptions extends GrpcStreamOptions {
  readonly credentials: ServerCredentials;
  /** Says who may call; absent without TLS. */
  readonly guard: CallGuard | undefined;
  readonly clock: Clock;
  readonly graceMs: number;
}

/** How long the last statuses have to reach the callers once the grace time is over. */
const farewellMs = 50;

/** A gRPC server on one address. */
export class GrpcServer implements RpcServer, ServiceRegistry {
  readonly #server = new Server(serverOptions());
  readonly #options: GrpcServerOptions;
  /** Ends each open call. */
  readonly #open = new Set<(error: OperatingError) => void>();
  #connections: ServerConnections | undefined;
  #address = '';
  #closing: Promise<void> | undefined;

  constructor(options: GrpcServerOptions) {
    this.#options = options;
  }

  get address(): string {
    return this.#address;
  }

  /** Listens on HOST:PORT. Throws UNAVAILABLE when that cannot be had. */
  listen(address: string): Promise<void> {
    raiseServerWindow(this.#server, flowControlWindowBytes);
    return new Promise((resolve, reject) => {
      this.#server.bindAsync(address, this.#options.credentials, (error, port) => {
        if (error === null) {
          raiseSessionWindows(this.#server, flowControlWindowBytes);
          this.#connections = new ServerConnections(this.#server);
          const { guard } = this.#options;
          if (guard !== undefined) watchHandshakes(this.#server, guard);
          this.#address = address.replace(/:\d+$/, `:${port}`);
          resolve();
          return;
        }
        reject(new OperatingError('UNAVAILABLE', whyNotBound(address, error)));
      });
    });
  }

  unary<Request, Response>(
    method: Method<Request, Response>,
    handler: UnaryHandler<Request, Response>,
  ): void {
    const serve = (call: ServerUnaryCall<Buffer, Buffer>, respond: sendUnaryData<Buffer>): void => {
      void this.#serve(method, handler, call, respond);
    };
    this.#server.register(method.path, serve, raw, raw, 'unary');
  }

  async #serve<Request, Response>(
    method: Method<Request, Response>,
    handler: UnaryHandler<Request, Response>,
    call: ServerUnaryCall<Buffer, Buffer>,
    respond: sendUnaryData<Buffer>,
  ): Promise<void> {
    const gone = new AbortController();
    let answered = false;
    const answer = (error: OperatingError | undefined, response?: Buffer): void => {
      if (answered) return;
      answered = true;
      this.#open.delete(answer);
      if (error === undefined) respond(null, response);
      else respond(serviceErrorOf(error));
    };
    this.#open.add(answer);
    call.on('cancelled', () => {
      if (answered) return;
      answer(new OperatingError('CANCELLED', `${method.path}: the caller has gone`));
      gone.abort();
    });
    try {
      const caller = this.#options.guard?.admit(method.path, call);
      const context: CallContext = { peer: call.getPeer(), signal: gone.signal, caller };
      const request = deserialize(method.path, method.requestDeserialize, call.request);
      const response = await handler(request, context);
      answer(undefined, serialize(method.path, method.responseSerialize, response));
    } catch (thrown) {
      if (!isBug(thrown, this.#options.onBug)) answer(toOperatingError(thrown));
    }
  }

  stream<Request, Response>(
    method: Method<Request, Response>,
    handler: StreamHandler<Request, Response>,
  ): void {
    const serve = (call: ServerDuplexStream<Buffer, Buffer>): void => {
      const stream = new GrpcServerStream(method, call, this.#options);
      let caller: PeerIdentity | undefined;
      try {
        caller = this.#options.guard?.admit(method.path, call);
      } catch (thrown) {
        stream.cancel(toOperatingError(thrown));
        return;
      }
      const end = (error: OperatingError): void =>
        stream.cancel(new OperatingError('UNAVAILABLE', error.message));
      this.#open.add(end);
      stream.accept(handler, caller, () => this.#open.delete(end));
    };
    this.#server.register(method.path, serve, raw, raw, 'bidi');
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { clock, graceMs } = this.#options;
    const finished = new AbortController();
    const over = new Promise<void>((resolve) => {
      // Breaks the connections of callers that do not take their last status in the end;
      // forceShutdown does not where channelz is off.
      this.#server.drain(this.#address, graceMs + farewellMs);
      this.#server.tryShutdown(() => {
        finished.abort();
        resolve();
      });
    });
    await Promise.race([over, pause(clock, graceMs, finished.signal)]);
    const error = new OperatingError('INDETERMINATE', `the server ${this.#address} has shut down`);
    for (const end of this.#open) end(error);
    await Promise.race([over, pause(clock, 2 * farewellMs, finished.signal)]);
    this.#connections?.destroy();
    await over;
    this.#server.forceShutdown();
  }
}

/** {@link delay} that ends quietly when it is no longer wanted. */
async function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  await delay(clock, delayMs, signal).catch((reason: unknown) => {
    if (!signal.aborted) throw reason;
  });
}

/** grpc-js tells the system's error only inside its text. */
function whyNotBound(address: string, { message }: Error): string {
  return message.includes('EADDRINUSE')
    ? `${address} is taken by another program; stop it or choose another with --listen HOST:PORT`
    : `cannot listen on ${address}: ${message}; choose another with --listen HOST:PORT`;
}
