import { type Clock, OperatingError, toOperatingError } from '@robustmq/core';
import { Client, Metadata, type ServiceError } from '@grpc/grpc-js';
import type {
  CallOptions,
  ChannelKind,
  MessageStream,
  Method,
  RpcClient,
  StreamHandlers,
} from '../transport.ts';
import type { ClusterChannelCredentials } from '../tls/channel-credentials.ts';
import type { ClosableCredentials } from './closable-credentials.ts';
import { GrpcClientStream, type GrpcStreamOptions } from './grpc-client-stream.ts';
import { operatingErrorOf } from './grpc-error.ts';
import { clientOptions } from './grpc-options.ts';
import { deserialize, raw, serialize } from './raw-message.ts';

export interface GrpcClientOptions extends GrpcStreamOptions {
  readonly credentials: ClosableCredentials;
  /** The same, with TLS. */
  readonly secure: ClusterChannelCredentials | undefined;
  readonly clock: Clock;
  readonly callTimeoutMs: number;
}

/** What has to be ended when the client is disposed. */
interface Open {
  cancel(error: OperatingError): void;
}

/** One channel to one address. */
export class GrpcClient implements RpcClient {
  readonly address: string;
  readonly #client: Client;
  readonly #options: GrpcClientOptions;
  readonly #open = new Set<Open>();
  #disposed = false;

  constructor(address: string, kind: ChannelKind, options: GrpcClientOptions) {
    this.address = address;
    this.#options = options;
    this.#client = new Client(address, options.credentials, clientOptions(kind));
  }

  async call<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    options: CallOptions = {},
  ): Promise<Response> {
    if (this.#disposed) throw this.#closedError();
    if (options.signal?.aborted === true) throw aborted(method.path);
    this.#options.secure?.expect(method.path);
    const bytes = serialize(method.path, method.requestSerialize, request);
    const answer = await this.#unary(method.path, bytes, options);
    return deserialize(method.path, method.responseDeserialize, answer);
  }

  #unary(path: string, request: Buffer, options: CallOptions): Promise<Buffer> {
    const timeoutMs = options.timeoutMs ?? this.#options.callTimeoutMs;
    const deadline = this.#options.clock.wallMs() + timeoutMs;
    return new Promise((resolve, reject) => {
      const settle = (error: OperatingError | undefined, answer?: Buffer): void => {
        this.#open.delete(open);
        options.signal?.removeEventListener('abort', onAbort);
        if (answer === undefined) reject(error);
        else resolve(answer);
      };
      const answered = (error: ServiceError | null, answer?: Buffer): void =>
        settle(error === null ? undefined : operatingErrorOf(error, true), answer);
      const call = this.#client.makeUnaryRequest(
        path,
        raw,
        raw,
        request,
        new Metadata(),
        { deadline },
        answered,
      );
      const open: Open = {
        cancel(error) {
          settle(error);
          call.cancel();
        },
      };
      const onAbort = (): void => open.cancel(aborted(path));
      this.#open.add(open);
      options.signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  open<Request, Response>(
    method: Method<Request, Response>,
    handlers: StreamHandlers<Response>,
  ): MessageStream<Request> {
    const refusal = this.#disposed ? this.#closedError() : this.#refusalOf(method.path);
    if (refusal !== undefined) {
      queueMicrotask(() => handlers.closed(refusal));
      return closedStream;
    }
    const call = this.#client.makeBidiStreamRequest(method.path, raw, raw, new Metadata(), {});
    const stream = new GrpcClientStream(method, handlers, call, this.#options, (closed) =>
      this.#open.delete(closed),
    );
    this.#open.add(stream);
    return stream;
  }

  // oxlint-disable-next-line typescript/require-await -- an interface for clients that have to wait
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const open of this.#open) open.cancel(this.#closedError());
    this.#client.close();
    this.#options.credentials.close();
  }

  #refusalOf(path: string): OperatingError | undefined {
    try {
      this.#options.secure?.expect(path);
      return undefined;
    } catch (thrown) {
      return toOperatingError(thrown);
    }
  }

  #closedError(): OperatingError {
    return new OperatingError('CANCELLED', `the client of ${this.address} was closed here`);
  }
}

function aborted(path: string): OperatingError {
  return new OperatingError('CANCELLED', `${path}: the caller gave up`);
}

const closedStream: MessageStream<unknown> = {
  send: () => true,
  end: () => undefined,
  cancel: () => undefined,
};
