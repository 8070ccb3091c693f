import { OperatingError, toOperatingError } from '@robustmq/core';
import type { CallContext, MessageStream, Method, StreamHandlers } from '@robustmq/rpc';
import type { SimProcess } from '../world/sim-process.ts';
import { type Connected, hostOf, type SimNetwork } from './sim-network.ts';
import { type Letter, write } from './letter.ts';
import type { SimServer } from './sim-server.ts';

/** Bytes of one direction that may be under way before `send` says stop. */
const windowBytes = 64 * 1024;

export interface StreamOptions {
  readonly network: SimNetwork;
  readonly client: SimProcess;
  readonly address: string;
  readonly patienceMs: number;
  readonly onOver: () => void;
}

/** One direction: messages arrive in the order in which they were sent. */
class Direction {
  readonly #network: SimNetwork;
  readonly #from: string;
  readonly #to: string;
  #lastArrivalMs = 0;
  #bytesUnderWay = 0;
  #stopped = false;

  constructor(network: SimNetwork, from: string, to: string) {
    this.#network = network;
    this.#from = from;
    this.#to = to;
  }

  /** False: stop until `drain` is called. */
  send(bytes: number, deliver: () => void, drain: () => void): boolean {
    this.#bytesUnderWay += bytes;
    this.carry(() => {
      this.#bytesUnderWay -= bytes;
      deliver();
      if (!this.#stopped || this.#bytesUnderWay > windowBytes / 2) return;
      this.#stopped = false;
      this.#network.carry(this.#to, this.#from, drain);
    });
    if (this.#bytesUnderWay <= windowBytes) return true;
    this.#stopped = true;
    return false;
  }

  carry(happen: () => void): void {
    this.#lastArrivalMs = this.#network.carry(this.#from, this.#to, happen, this.#lastArrivalMs);
  }
}

/** The client's end of a stream; it brings the server's with it. */
export class ClientStream<Request, Response> implements MessageStream<Request>, Connected {
  readonly client: SimProcess;
  readonly clientLife: number;
  readonly host: string;
  readonly patienceMs: number;
  readonly #method: Method<Request, Response>;
  readonly #handlers: StreamHandlers<Response>;
  readonly #options: StreamOptions;
  readonly #out: Direction;
  readonly #server: ServerStream<Request, Response>;
  #ended = false;
  #closed = false;

  constructor(
    method: Method<Request, Response>,
    handlers: StreamHandlers<Response>,
    options: StreamOptions,
  ) {
    const { network, client, address, patienceMs } = options;
    this.#method = method;
    this.#handlers = handlers;
    this.#options = options;
    this.client = client;
    this.clientLife = client.life;
    this.host = hostOf(address);
    this.patienceMs = patienceMs;
    this.#out = new Direction(network, client.name, this.host);
    this.#server = new ServerStream(method, this, options);
  }

  connect(): void {
    const { network, address } = this.#options;
    network.open.add(this);
    network.watch(this);
    this.#out.carry(() => {
      const server = network.server(address);
      if (server === undefined) {
        const error = new OperatingError('UNAVAILABLE', `nobody listens on ${address}`);
        network.carry(this.host, this.client.name, () => this.over(error));
      } else this.#server.accept(server, this.client.name);
    });
  }

  send(message: Request): boolean {
    if (this.#ended) return true;
    const { path, requestSerialize, requestDeserialize } = this.#method;
    const letter = write(path, message, requestSerialize, requestDeserialize);
    const drain = (): void => {
      if (this.#isHere && !this.#ended) this.#handlers.drain?.();
    };
    return this.#out.send(letter.bytes, () => this.#server.receive(letter), drain);
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#out.carry(() => this.#server.callerEnded(undefined));
  }

  cancel(error?: OperatingError): void {
    if (this.#closed) return;
    const cancelled = new OperatingError('CANCELLED', `${this.#method.path}: cancelled`);
    this.#out.carry(() => this.#server.callerEnded(cancelled));
    this.over(error ?? cancelled);
  }

  receive(letter: Letter<Response>): void {
    if (this.#closed || !this.#isHere) return;
    try {
      this.#handlers.message(letter.read());
    } catch (thrown) {
      this.#options.network.world.violate(
        `${this.client.name}: ${this.#method.path}: ${toOperatingError(thrown).message}`,
      );
      this.cancel(toOperatingError(thrown));
    }
  }

  /** The stream is over at this end. */
  over(error: OperatingError | undefined): void {
    if (this.#closed || !this.#isHere) return;
    this.#ended = true;
    this.#closed = true;
    this.#options.onOver();
    this.#options.network.open.delete(this);
    queueMicrotask(() => this.#handlers.closed(error));
  }

  breakAt(end: 'client' | 'server'): void {
    const what = `${this.#method.path}: the connection was lost`;
    if (end === 'client') this.over(new OperatingError('UNAVAILABLE', what));
    else this.#server.callerEnded(new OperatingError('CANCELLED', what));
  }

  get #isHere(): boolean {
    return this.client.isAlive && this.client.life === this.clientLife;
  }
}

/** The server's end. */
class ServerStream<Request, Response> implements MessageStream<Response> {
  readonly #method: Method<Request, Response>;
  readonly #client: ClientStream<Request, Response>;
  readonly #out: Direction;
  readonly #gone = new AbortController();
  #server: SimServer | undefined;
  #handlers: StreamHandlers<Request> | undefined;
  #release: () => void = () => {};
  #ended = false;
  #closed = false;

  constructor(
    method: Method<Request, Response>,
    client: ClientStream<Request, Response>,
    options: StreamOptions,
  ) {
    this.#method = method;
    this.#client = client;
    this.#out = new Direction(options.network, client.host, client.client.name);
  }

  accept(server: SimServer, peer: string): void {
    this.#server = server;
    const { path } = this.#method;
    const handler = server.streamHandler<Request, Response>(path);
    if (handler === undefined) {
      this.cancel(new OperatingError('UNSUPPORTED', `${path} is not served`));
      return;
    }
    this.#release = server.addOpen(({ message }) =>
      this.cancel(new OperatingError('UNAVAILABLE', message)),
    );
    const context: CallContext = { peer, signal: this.#gone.signal };
    this.#guard(() => {
      this.#handlers = handler(this, context);
    });
  }

  receive(letter: Letter<Request>): void {
    if (this.#closed || this.#server?.isSameLife !== true) return;
    this.#guard(() => this.#handlers?.message(letter.read()));
  }

  send(message: Response): boolean {
    if (this.#ended) return true;
    const { path, responseSerialize, responseDeserialize } = this.#method;
    const letter = write(path, message, responseSerialize, responseDeserialize);
    const drain = (): void => {
      if (this.#server?.isSameLife === true && !this.#ended) this.#handlers?.drain?.();
    };
    return this.#out.send(letter.bytes, () => this.#client.receive(letter), drain);
  }

  end(): void {
    if (this.#ended) return;
    this.#out.carry(() => this.#client.over(undefined));
    this.#over(undefined);
  }

  cancel(error?: OperatingError): void {
    if (this.#ended) return;
    const told = error ?? new OperatingError('CANCELLED', `${this.#method.path}: cancelled`);
    this.#out.carry(() => this.#client.over(told));
    this.#over(told);
  }

  /** The client has ended its side, or has gone when there is an error. */
  callerEnded(error: OperatingError | undefined): void {
    if (this.#server?.isSameLife !== true) return;
    if (error === undefined || this.#ended) {
      this.#close(error);
      return;
    }
    this.#over(error);
    this.#gone.abort(error);
  }

  #guard(work: () => void): void {
    try {
      work();
    } catch (thrown) {
      this.#server?.judge(thrown, this.#method.path);
      this.cancel(toOperatingError(thrown));
    }
  }

  #over(error: OperatingError | undefined): void {
    this.#ended = true;
    this.#release();
    this.#close(error);
  }

  #close(error: OperatingError | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    queueMicrotask(() => this.#handlers?.closed(error));
  }
}
