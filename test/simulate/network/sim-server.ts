import { OperatingError, toOperatingError } from '@robustmq/core';
import type {
  CallContext,
  Method,
  RpcServer,
  ServiceRegistry,
  StreamHandler,
  UnaryHandler,
} from '@robustmq/rpc';
import type { SimProcess } from '../world/sim-process.ts';
import { type Letter, write } from './letter.ts';
import type { SimNetwork } from './sim-network.ts';

const graceMs = 500;

/** The methods that one life of a process serves. */
export class SimServer implements RpcServer, ServiceRegistry {
  readonly address: string;
  readonly process: SimProcess;
  readonly #network: SimNetwork;
  readonly #life: number;
  readonly #unary = new Map<string, UnaryHandler<never, unknown>>();
  readonly #stream = new Map<string, StreamHandler<never, never>>();
  /** Ends what is open when the server shuts down. */
  readonly #open = new Set<(error: OperatingError) => void>();
  #closed = false;

  constructor(network: SimNetwork, process: SimProcess, address: string) {
    this.#network = network;
    this.process = process;
    this.address = address;
    this.#life = process.life;
  }

  get isListening(): boolean {
    return !this.#closed && this.isSameLife;
  }

  get isSameLife(): boolean {
    return this.process.isAlive && this.process.life === this.#life;
  }

  unary<Request, Response>(
    method: Method<Request, Response>,
    handler: UnaryHandler<Request, Response>,
  ): void {
    this.#unary.set(method.path, handler);
  }

  stream<Request, Response>(
    method: Method<Request, Response>,
    handler: StreamHandler<Request, Response>,
  ): void {
    this.#stream.set(method.path, handler);
  }

  streamHandler<Request, Response>(path: string): StreamHandler<Request, Response> | undefined {
    return this.#stream.get(path);
  }

  /** What the handler answers. */
  async call<Request, Response>(
    method: Method<Request, Response>,
    letter: Letter<Request>,
    context: CallContext,
  ): Promise<Letter<Response>> {
    const handler = this.#unary.get(method.path) as UnaryHandler<Request, Response> | undefined;
    if (handler === undefined) {
      throw new OperatingError('UNSUPPORTED', `${this.address} does not serve ${method.path}`);
    }
    const { promise, reject } = Promise.withResolvers<never>();
    promise.catch(() => {});
    this.#open.add(reject);
    try {
      const response = await Promise.race([handler(letter.read(), context), promise]);
      const { responseSerialize, responseDeserialize } = method;
      return write(method.path, response, responseSerialize, responseDeserialize);
    } catch (thrown) {
      this.judge(thrown, method.path);
      throw toOperatingError(thrown);
    } finally {
      this.#open.delete(reject);
    }
  }

  /** Reports what is a bug and no refusal. */
  judge(thrown: unknown, what: string): void {
    const error = toOperatingError(thrown);
    if (error.code !== 'INTERNAL') return;
    this.#network.world.violate(`${this.process.name}: ${what}: ${error.message}`);
  }

  addOpen(end: (error: OperatingError) => void): () => void {
    this.#open.add(end);
    return () => this.#open.delete(end);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#open.size > 0) {
      await new Promise<void>((resolve) => {
        this.process.clock.setTimer(graceMs, resolve);
      });
    }
    const error = new OperatingError('INDETERMINATE', `the server ${this.address} has shut down`);
    for (const end of this.#open) end(error);
  }
}
