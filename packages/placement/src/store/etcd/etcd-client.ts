import { assert, type Clock, OperatingError, toOperatingError } from '@robustmq/core';
import { etcdAuthMethods, type Method } from '@robustmq/rpc';
import {
  Client,
  type ClientDuplexStream,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { etcdError } from './etcd-error.ts';

export interface EtcdClientOptions {
  /** HOST:PORT of each member of the etcd cluster; at least one. */
  readonly endpoints: readonly string[];
  readonly clock: Clock;
  /** TLS towards etcd, in PEM; without it connections are plain. */
  readonly tls?: EtcdTls;
  readonly user?: { readonly name: string; readonly password: string };
}

export interface EtcdTls {
  /** Authorities that etcd's certificate may come from; without them those of the system. */
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
}

const callTimeoutMs = 5_000;

/** A stream that is open. It is to be iterated or cancelled; it ends with an OperatingError. */
export type EtcdStream<Request, Response> = ClientDuplexStream<Request, Response>;

/** Calls the member that answered last; while one is away, the next. */
export class EtcdClient implements Disposable {
  readonly #options: EtcdClientOptions;
  readonly #clients: readonly Client[];
  #index = 0;
  #token: Promise<string> | undefined;

  constructor(options: EtcdClientOptions) {
    if (options.endpoints.length === 0) {
      throw new OperatingError('INVALID_ARGUMENT', 'no etcd member given: set --etcd-endpoints');
    }
    this.#options = options;
    const { tls } = options;
    const secured = tls
      ? credentials.createSsl(tls.ca ?? null, tls.key ?? null, tls.cert ?? null)
      : credentials.createInsecure();
    this.#clients = options.endpoints.map(
      (endpoint) => new Client(endpoint, secured, channelOptions),
    );
  }

  /** The member that is called now. */
  get endpoint(): string {
    return this.#options.endpoints[this.#index] ?? '';
  }

  /** Calls once. UNAVAILABLE: not done; INDETERMINATE: nobody knows, and the next call goes elsewhere. */
  async call<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    timeoutMs = callTimeoutMs,
  ): Promise<Response> {
    const index = this.#index;
    const hadToken = this.#token !== undefined;
    try {
      return await this.#unary(method, request, await this.#metadata(), timeoutMs);
    } catch (thrown) {
      const { code } = toOperatingError(thrown);
      if (code === 'UNAVAILABLE' || code === 'INDETERMINATE') this.leave(index);
      // A token ends with time, or with the member that has made it.
      if (code !== 'NOT_AUTHORIZED' || !hadToken) throw thrown;
      this.#token = undefined;
      return this.#unary(method, request, await this.#metadata(), timeoutMs);
    }
  }

  /** Calls what only reads: at each member once, until one answers. Rejects with UNAVAILABLE. */
  async read<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
  ): Promise<Response> {
    let last: OperatingError | undefined;
    for (let tries = 0; tries < this.#clients.length; tries++) {
      try {
        return await this.call(method, request);
      } catch (thrown) {
        last = toOperatingError(thrown);
        if (last.code !== 'UNAVAILABLE' && last.code !== 'INDETERMINATE') throw last;
      }
    }
    throw new OperatingError('UNAVAILABLE', last?.message ?? 'etcd does not answer');
  }

  /** Opens a stream at the member that answered last. */
  async open<Request, Response>(
    method: Method<Request, Response>,
  ): Promise<EtcdStream<Request, Response>> {
    const metadata = await this.#metadata();
    // A member without a leader ends its streams, instead of telling nothing.
    metadata.set('hasleader', 'true');
    const stream = this.#client.makeBidiStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      metadata,
    );
    const index = this.#index;
    stream.on('error', (error: Error & Partial<ServiceError>) => {
      // Ended from here.
      if (error.code === undefined || error.code === status.CANCELLED) return;
      if (error.code === status.UNAUTHENTICATED) this.#token = undefined;
      else this.leave(index);
    });
    return stream;
  }

  /** Goes to the next member, unless another call has done so. */
  leave(index = this.#index): void {
    if (index === this.#index) this.#index = (index + 1) % this.#clients.length;
  }

  [Symbol.dispose](): void {
    for (const client of this.#clients) client.close();
  }

  get #client(): Client {
    const client = this.#clients[this.#index];
    assert(client !== undefined, 'the index of the current member is in range');
    return client;
  }

  async #metadata(): Promise<Metadata> {
    const metadata = new Metadata();
    const { user } = this.#options;
    if (user === undefined) return metadata;
    this.#token ??= this.#authenticate(user);
    metadata.set('token', await this.#token);
    return metadata;
  }

  async #authenticate(user: { name: string; password: string }): Promise<string> {
    try {
      const answer = await this.#unary(etcdAuthMethods.authenticate, user, new Metadata());
      return answer.token;
    } catch (thrown) {
      this.#token = undefined;
      throw thrown;
    }
  }

  #unary<Request, Response>(
    { path, requestSerialize, responseDeserialize }: Method<Request, Response>,
    request: Request,
    metadata: Metadata,
    timeoutMs = callTimeoutMs,
  ): Promise<Response> {
    const { endpoint } = this;
    const deadline = this.#options.clock.wallMs() + timeoutMs;
    return new Promise((resolve, reject) => {
      const answered = (error: ServiceError | null, answer?: Response): void => {
        if (error !== null) reject(etcdError(error, endpoint));
        else if (answer !== undefined) resolve(answer);
      };
      this.#client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        metadata,
        { deadline },
        answered,
      );
    });
  }
}

const channelOptions = {
  // A page of large values, or the changes of a thousand transactions.
  'grpc.max_receive_message_length': -1,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_retries': 0,
  'grpc.enable_channelz': 0,
  'grpc.service_config_disable_resolution': 1,
  'grpc.enable_http_proxy': 0,
  'grpc.initial_reconnect_backoff_ms': 50,
  'grpc.max_reconnect_backoff_ms': 500,
  'grpc.dns_min_time_between_resolutions_ms': 1_000,
  // etcd refuses clients that ping more often than each 5 s.
  'grpc.keepalive_time_ms': 6_000,
  'grpc.keepalive_timeout_ms': 3_000,
  'grpc.keepalive_permit_without_calls': 0,
};
