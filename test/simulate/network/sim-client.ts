import { OperatingError, toOperatingError } from '@robustmq/core';
import type {
  CallOptions,
  ChannelKind,
  MessageStream,
  Method,
  RpcClient,
  StreamHandlers,
} from '@robustmq/rpc';
import { whenSettled } from '../world/when-settled.ts';
import type { SimProcess } from '../world/sim-process.ts';
import { type Letter, write } from './letter.ts';
import { type Connected, hostOf, type SimNetwork } from './sim-network.ts';
import { ClientStream } from './sim-stream.ts';

const callTimeoutMs = 10_000;
/** Keep-alive of the real transport: interval and patience together. */
const patienceMs = { control: 3_000, replication: 3_000, bulk: 10_000 } as const;

/** A connection of one life of a process to an address. */
export class SimClient implements RpcClient {
  readonly address: string;
  readonly #network: SimNetwork;
  readonly #process: SimProcess;
  readonly #kind: ChannelKind;
  readonly #open = new Set<(error: OperatingError) => void>();
  #disposed = false;

  constructor(network: SimNetwork, process: SimProcess, address: string, kind: ChannelKind) {
    this.#network = network;
    this.#process = process;
    this.address = address;
    this.#kind = kind;
  }

  async call<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    options: CallOptions = {},
  ): Promise<Response> {
    const { path } = method;
    if (this.#disposed) throw this.#closedError();
    if (options.signal?.aborted === true)
      throw new OperatingError('CANCELLED', `${path}: given up`);
    const { promise, resolve, reject } = Promise.withResolvers<Response>();
    const gone = new AbortController();
    const fail = (error: OperatingError): void => {
      reject(error);
      gone.abort(error);
    };
    const { timeoutMs = callTimeoutMs, signal } = options;
    const cancelTimer = this.#process.clock.setTimer(timeoutMs, () =>
      fail(new OperatingError('INDETERMINATE', `${path}: no answer within ${timeoutMs} ms`)),
    );
    const onAbort = (): void => fail(new OperatingError('CANCELLED', `${path}: given up`));
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#open.add(fail);
    const connected = this.#connected(fail, path);
    const { requestSerialize, requestDeserialize } = method;
    const letter = write(path, request, requestSerialize, requestDeserialize);
    this.#send(method, letter, gone.signal, { resolve, fail });
    try {
      return await promise;
    } finally {
      cancelTimer();
      signal?.removeEventListener('abort', onAbort);
      this.#open.delete(fail);
      this.#network.open.delete(connected);
    }
  }

  open<Request, Response>(
    method: Method<Request, Response>,
    handlers: StreamHandlers<Response>,
  ): MessageStream<Request> {
    const stream = new ClientStream(method, handlers, {
      network: this.#network,
      client: this.#process,
      address: this.address,
      patienceMs: patienceMs[this.#kind],
      onOver: () => this.#open.delete(cancel),
    });
    const cancel = (error: OperatingError): void => stream.cancel(error);
    if (this.#disposed) {
      stream.over(this.#closedError());
      return stream;
    }
    this.#open.add(cancel);
    stream.connect();
    return stream;
  }

  // oxlint-disable-next-line typescript/require-await -- an interface for clients that have to wait
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const cancel of this.#open) cancel(this.#closedError());
  }

  #send<Request, Response>(
    method: Method<Request, Response>,
    letter: Letter<Request>,
    signal: AbortSignal,
    answer: { resolve: (response: Response) => void; fail: (error: OperatingError) => void },
  ): void {
    const network = this.#network;
    const { world, plan } = network;
    const { path } = method;
    const [here, there] = [this.#process.name, hostOf(this.address)];
    const isHere = this.#sameLife();
    const back = (happen: () => void): void => {
      if (world.chance(plan.lost))
        world.explain(() => `lost: answer of ${there} to ${here} ${method.path.slice(14)}`);
      else network.carry(there, here, () => isHere() && happen());
    };
    const arrive = (isFirst: boolean): void => {
      const server = network.server(this.address);
      if (server === undefined) {
        const error = new OperatingError('UNAVAILABLE', `nobody listens on ${this.address}`);
        if (isFirst) back(() => answer.fail(error));
        return;
      }
      world.explain(
        () =>
          `${here} > ${there} ${method.path.slice(14)}${isFirst ? '' : ' again'} ${inShort(letter.read())}`,
      );
      network.called(method.path, letter.read(), there);
      whenSettled(
        server.call(method, letter, { peer: here, signal }),
        (response) => {
          world.explain(() => `${there} < ${here} ${inShort(response.read())}`);
          network.answered(method.path, letter.read(), response.read(), there);
          if (isFirst) back(() => answer.resolve(response.read()));
        },
        (thrown) => {
          if (isFirst) back(() => answer.fail(toOperatingError(thrown)));
        },
      );
    };
    if (network.losesCall(path, there))
      world.explain(() => `lost: ${here} > ${there} ${path.slice(14)}`);
    else network.carry(here, there, () => arrive(true));
    if (world.chance(plan.twice)) {
      const later = world.nowMs + world.between(0, 4_000);
      network.carry(here, there, () => arrive(false), later);
    }
  }

  #connected(fail: (error: OperatingError) => void, path: string): Connected {
    const connected: Connected = {
      client: this.#process,
      host: hostOf(this.address),
      patienceMs: patienceMs[this.#kind],
      breakAt: (end) => {
        if (end === 'client') fail(new OperatingError('INDETERMINATE', `${path}: lost`));
      },
    };
    this.#network.open.add(connected);
    this.#network.watch(connected);
    return connected;
  }

  #sameLife(): () => boolean {
    const process = this.#process;
    const { life } = process;
    return () => process.isAlive && process.life === life;
  }

  #closedError(): OperatingError {
    return new OperatingError('CANCELLED', `the client of ${this.address} was closed here`);
  }
}

/** What was asked or answered, in short, for the readable trace. */
function inShort(message: unknown): string {
  const text = JSON.stringify(message, (key, value: unknown) => {
    const bytes = value as { readonly type?: string; readonly data?: readonly number[] } | null;
    if (bytes?.type === 'Buffer') return Buffer.from(bytes.data ?? []).toString('hex', 0, 3);
    return key === 'authority' ? undefined : value;
  });
  return text.replaceAll('"', '').slice(0, 300);
}
