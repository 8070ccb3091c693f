import { type AssertionFailure, delay, OperatingError, systemClock } from '@robustmq/core';
import type {
  CallContext,
  MessageStream,
  RpcClient,
  RpcServer,
  StreamHandler,
  StreamHandlers,
  Transport,
  UnaryHandler,
} from '@robustmq/rpc';
import { askParcel, exchangeParcels, type Parcel } from './parcel.ts';

/** What the suite asks of the transport that it tests. */
export interface TestedTransportOptions {
  readonly graceMs?: number;
  readonly streamQueueMessagesMax?: number;
  readonly streamQueueBytesMax?: number;
  readonly onBug?: (bug: AssertionFailure) => void;
}

export interface TransportConformance {
  makeTransport(options: TestedTransportOptions): Transport;
  /** Whether messages are copied when they are sent, rather than handed over. */
  readonly copies: boolean;
}

/** A server with up to one handler of each kind, and a client of it. */
export interface Setup extends TestedTransportOptions {
  readonly ask?: UnaryHandler<Parcel, Parcel>;
  readonly exchange?: StreamHandler<Parcel, Parcel>;
}

export class Fixture implements AsyncDisposable {
  readonly transport: Transport;
  readonly server: RpcServer;
  readonly client: RpcClient;

  private constructor(transport: Transport, server: RpcServer) {
    this.transport = transport;
    this.server = server;
    this.client = transport.connect(server.address, 'bulk');
  }

  static async make(tested: TransportConformance, setup: Setup): Promise<Fixture> {
    const transport = tested.makeTransport({ graceMs: 20, ...setup });
    return new Fixture(transport, await listen(transport, '127.0.0.1:0', setup));
  }

  ask(request: Parcel, timeoutMs = 30_000): Promise<Parcel> {
    return this.client.call(askParcel, request, { timeoutMs });
  }

  open(handlers: StreamHandlers<Parcel>): MessageStream<Parcel> {
    return this.client.open(exchangeParcels, handlers);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client[Symbol.asyncDispose]();
    await this.server[Symbol.asyncDispose]();
  }
}

export function listen(transport: Transport, address: string, setup: Setup): Promise<RpcServer> {
  return transport.listen(address, (registry) => {
    if (setup.ask !== undefined) registry.unary(askParcel, setup.ask);
    if (setup.exchange !== undefined) registry.stream(exchangeParcels, setup.exchange);
  });
}

/** Handlers that write down what they are told. */
export class Recorder implements StreamHandlers<Parcel> {
  readonly ids: number[] = [];
  readonly closings: (OperatingError | undefined)[] = [];
  readonly over: Promise<OperatingError | undefined>;
  /** What to do with a message, besides. */
  onMessage: (message: Parcel) => void;
  onClosed: (error: OperatingError | undefined) => void;
  #over: (error: OperatingError | undefined) => void = () => undefined;

  constructor(onMessage: (message: Parcel) => void = () => undefined) {
    this.onMessage = onMessage;
    this.onClosed = () => undefined;
    this.over = new Promise((resolve) => {
      this.#over = resolve;
    });
  }

  message(message: Parcel): void {
    this.ids.push(message.id);
    this.onMessage(message);
  }

  closed(error: OperatingError | undefined): void {
    this.closings.push(error);
    this.onClosed(error);
    this.#over(error);
  }
}

/** Sends back whatever comes, and ends when the client does. */
export const echo: StreamHandler<Parcel, Parcel> = (stream) => ({
  message: (message) => void stream.send(message),
  closed: () => stream.end(),
});

/** A handler whose one stream a test takes in its hands. */
export class Accepted {
  readonly recorder = new Recorder();
  readonly ready: Promise<{ stream: MessageStream<Parcel>; context: CallContext }>;
  readonly handler: StreamHandler<Parcel, Parcel>;

  constructor() {
    const { promise, resolve } = Promise.withResolvers<{
      stream: MessageStream<Parcel>;
      context: CallContext;
    }>();
    this.ready = promise;
    this.handler = (stream, context) => {
      resolve({ stream, context });
      return this.recorder;
    };
  }
}

export async function failure(promise: Promise<unknown>): Promise<OperatingError> {
  const thrown: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(thrown instanceof OperatingError)) throw new Error(`no operating error: ${String(thrown)}`);
  return thrown;
}

export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Long enough for whatever should not happen to happen. */
export const settle = (): Promise<void> => delay(systemClock(), 30);

export const mebibyte = 1024 * 1024;
