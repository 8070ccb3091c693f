import {
  AssertionFailure,
  delay,
  type ErrorCode,
  errorTable,
  OperatingError,
  systemClock,
} from '@robustmq/core';
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
import { describe, expect, it } from 'vitest';
import { askParcel, exchangeParcels, type Parcel, parcel } from './parcel.ts';

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

/** What every transport must do, so that nothing above it knows which one it runs on. */
export function transportConformance(name: string, tested: TransportConformance): void {
  describe(name, () => {
    describe('unary calls', () => unaryCalls(tested));
    describe('streams', () => streams(tested));
    describe('ends of streams', () => endsOfStreams(tested));
    describe('flow', () => flow(tested));
    describe('lives of servers and clients', () => lives(tested));
  });
}

/** A server with up to one handler of each kind, and a client of it. */
interface Setup extends TestedTransportOptions {
  readonly ask?: UnaryHandler<Parcel, Parcel>;
  readonly exchange?: StreamHandler<Parcel, Parcel>;
}

class Fixture implements AsyncDisposable {
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

function listen(transport: Transport, address: string, setup: Setup): Promise<RpcServer> {
  return transport.listen(address, (registry) => {
    if (setup.ask !== undefined) registry.unary(askParcel, setup.ask);
    if (setup.exchange !== undefined) registry.stream(exchangeParcels, setup.exchange);
  });
}

/** Handlers that write down what they are told. */
class Recorder implements StreamHandlers<Parcel> {
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
const echo: StreamHandler<Parcel, Parcel> = (stream) => ({
  message: (message) => void stream.send(message),
  closed: () => stream.end(),
});

/** A handler whose one stream a test takes in its hands. */
class Accepted {
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

async function failure(promise: Promise<unknown>): Promise<OperatingError> {
  const thrown: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(thrown instanceof OperatingError)) throw new Error(`no operating error: ${String(thrown)}`);
  return thrown;
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Long enough for whatever should not happen to happen. */
const settle = (): Promise<void> => delay(systemClock(), 30);

const mebibyte = 1024 * 1024;

function unaryCalls(tested: TransportConformance): void {
  it('answers', async () => {
    await using fixture = await Fixture.make(tested, {
      ask: (request, context) =>
        parcel(request.id + 1, Buffer.from(`${request.data.toString()} ${context.peer}`)),
    });
    const answer = await fixture.ask(parcel(1, Buffer.from('from')));
    expect(answer.id).toBe(2);
    expect(answer.data.toString()).toMatch(/^from (127\.0\.0\.1:\d+|in-process)$/);
  });

  it('carries an operating error whole, whatever its message says', async () => {
    const hint = { nodeId: 'broker-ü', epoch: 7, retryAfterMs: 250, earliestOffset: 2 ** 53 - 1 };
    const message = 'partition "a%20b" → ü \n\u{1f980} is led by another; ask it';
    await using fixture = await Fixture.make(tested, {
      ask: () => Promise.reject(new OperatingError('NOT_LEADER', message, hint)),
    });
    const error = await failure(fixture.ask(parcel(1)));
    expect(error).toMatchObject({ code: 'NOT_LEADER', message });
    expect(error.hint).toEqual(hint);
  });

  it('carries every code', async () => {
    const codes = Object.keys(errorTable) as ErrorCode[];
    await using fixture = await Fixture.make(tested, {
      ask: (request) => {
        throw new OperatingError(codes[request.id] ?? 'INTERNAL', `number ${request.id}`);
      },
    });
    for (const [id, code] of codes.entries()) {
      const error = await failure(fixture.ask(parcel(id)));
      expect(error).toMatchObject({ code, message: `number ${id}`, hint: {} });
    }
  });

  it('carries a message of any length, cut if need be', async () => {
    await using fixture = await Fixture.make(tested, {
      ask: () => {
        throw new OperatingError('CONFLICT', 'ü'.repeat(100_000));
      },
    });
    const error = await failure(fixture.ask(parcel(1)));
    expect(error.code).toBe('CONFLICT');
    expect(error.message).toMatch(/^ü{1000}/);
  });

  it('makes INTERNAL of a foreign error', async () => {
    await using fixture = await Fixture.make(tested, {
      ask: () => {
        throw new RangeError('index 7 of 3');
      },
    });
    const error = await failure(fixture.ask(parcel(1)));
    expect(error).toMatchObject({ code: 'INTERNAL', message: 'index 7 of 3' });
  });

  it('gives a bug away and leaves the caller without an answer', async () => {
    const bugs: AssertionFailure[] = [];
    await using fixture = await Fixture.make(tested, {
      ask: () => {
        throw new AssertionFailure('one is one');
      },
      onBug: (bug) => bugs.push(bug),
    });
    const error = await failure(fixture.ask(parcel(1), 100));
    expect(error.code).toBe('INDETERMINATE');
    expect(bugs.map((bug) => bug.message)).toEqual(['one is one']);
  });

  it('fails with INDETERMINATE when there is no answer in time, and the server learns it', async () => {
    const { promise: gone, resolve } = Promise.withResolvers<void>();
    await using fixture = await Fixture.make(tested, {
      ask: async (_request, context) => {
        await aborted(context.signal);
        resolve();
        return parcel(0);
      },
    });
    expect((await failure(fixture.ask(parcel(1), 50))).code).toBe('INDETERMINATE');
    await gone;
  });

  it('fails with CANCELLED when the caller gives up, and the server learns it', async () => {
    const { promise: begun, resolve: begin } = Promise.withResolvers<CallContext>();
    await using fixture = await Fixture.make(tested, {
      ask: (_request, context) => {
        begin(context);
        return new Promise(() => undefined);
      },
    });
    const giveUp = new AbortController();
    const call = fixture.client.call(askParcel, parcel(1), { signal: giveUp.signal });
    const context = await begun;
    expect(context.signal.aborted).toBe(false);
    giveUp.abort();
    expect((await failure(call)).code).toBe('CANCELLED');
    await aborted(context.signal);
    const late = fixture.client.call(askParcel, parcel(1), { signal: giveUp.signal });
    expect((await failure(late)).code).toBe('CANCELLED');
  });

  it('does not tell a handler that has answered that its caller has gone', async () => {
    const contexts: CallContext[] = [];
    await using fixture = await Fixture.make(tested, {
      ask: (request, context) => {
        contexts.push(context);
        return request;
      },
    });
    await fixture.ask(parcel(1));
    await settle();
    expect(contexts.map((context) => context.signal.aborted)).toEqual([false]);
  });

  it('fails with UNAVAILABLE where nobody listens', async () => {
    const transport = tested.makeTransport({});
    const server = await listen(transport, '127.0.0.1:0', {});
    await server[Symbol.asyncDispose]();
    await using client = transport.connect(server.address, 'control');
    expect((await failure(client.call(askParcel, parcel(1)))).code).toBe('UNAVAILABLE');
  });

  it('fails with UNSUPPORTED when the server does not serve the method', async () => {
    await using fixture = await Fixture.make(tested, {});
    expect((await failure(fixture.ask(parcel(1)))).code).toBe('UNSUPPORTED');
    const recorder = new Recorder();
    fixture.open(recorder);
    expect((await recorder.over)?.code).toBe('UNSUPPORTED');
  });

  it('carries 12 MiB and refuses 17 MiB, both ways', async () => {
    await using fixture = await Fixture.make(tested, {
      ask: (request) => parcel(request.id, Buffer.alloc(request.id * mebibyte, 7)),
    });
    const answer = await fixture.ask(parcel(12, Buffer.alloc(12 * mebibyte)));
    expect(answer.data.length).toBe(12 * mebibyte);
    const sent = await failure(fixture.ask(parcel(1, Buffer.alloc(17 * mebibyte))));
    expect(sent).toMatchObject({ code: 'BATCH_TOO_LARGE' });
    expect(sent.message).toMatch(/17825\d{3}.*16777216/);
    const received = await failure(fixture.ask(parcel(17)));
    expect(received).toMatchObject({ code: 'BATCH_TOO_LARGE' });
    expect(received.message).toMatch(/17825\d{3}.*16777216/);
  });
}

function streams(tested: TransportConformance): void {
  it('carries 10,000 messages both ways in order', async () => {
    const count = 10_000;
    await using fixture = await Fixture.make(tested, { exchange: echo });
    const recorder = new Recorder();
    const stream = fixture.open(recorder);
    for (let id = 0; id < count; id++) stream.send(parcel(id));
    stream.end();
    expect(await recorder.over).toBeUndefined();
    expect(recorder.ids.length).toBe(count);
    expect(recorder.ids.every((id, index) => id === index)).toBe(true);
    expect(recorder.closings.length).toBe(1);
  });

  it('is usable at once and keeps streams apart', async () => {
    await using fixture = await Fixture.make(tested, { exchange: echo });
    const recorders = [1, 2, 3].map((id) => {
      const recorder = new Recorder();
      const stream = fixture.open(recorder);
      stream.send(parcel(id));
      stream.send(parcel(id * 10));
      stream.end();
      return recorder;
    });
    await Promise.all(recorders.map((recorder) => recorder.over));
    expect(recorders.map((recorder) => recorder.ids)).toEqual([
      [1, 10],
      [2, 20],
      [3, 30],
    ]);
  });

  it('never calls a handler from within send, end or cancel', async () => {
    await using fixture = await Fixture.make(tested, { exchange: echo });
    let inside = false;
    let calls = 0;
    const outside = (): void => {
      calls++;
      if (inside) throw new AssertionFailure('called from within');
    };
    const recorder = new Recorder(outside);
    recorder.onClosed = outside;
    const stream = fixture.open(recorder);
    inside = true;
    stream.send(parcel(1));
    inside = false;
    await expect.poll(() => calls, { interval: 1 }).toBe(1);
    inside = true;
    stream.send(parcel(2));
    stream.end();
    stream.cancel();
    inside = false;
    await recorder.over;
    expect(recorder.closings.length).toBe(1);
  });

  it('gives buffers away: the receiver patches them in place and sends them on', async () => {
    await using fixture = await Fixture.make(tested, {
      exchange: (stream) => ({
        message: ({ id, data }) => {
          data.writeUInt32BE(0xabcdef01, 0);
          stream.send(parcel(id, data));
        },
        closed: () => stream.end(),
      }),
    });
    const received: string[] = [];
    const recorder = new Recorder((message) => received.push(message.data.toString('hex')));
    const stream = fixture.open(recorder);
    stream.send(parcel(1, Buffer.from('0000000011111111', 'hex')));
    stream.send(parcel(2, Buffer.from('0000000022222222', 'hex')));
    stream.end();
    await recorder.over;
    expect(received).toEqual(['abcdef0111111111', 'abcdef0122222222']);
  });

  if (tested.copies) {
    it('needs a sent buffer no more once send has returned', async () => {
      const count = 200;
      await using fixture = await Fixture.make(tested, { exchange: echo });
      const received: Buffer[] = [];
      const recorder = new Recorder((message) => received.push(message.data));
      const stream = fixture.open(recorder);
      for (let id = 0; id < count; id++) {
        const data = Buffer.alloc(5_000, id);
        stream.send(parcel(id, data));
        data.fill(0xff);
      }
      stream.end();
      await recorder.over;
      expect(received.length).toBe(count);
      expect(received.every((data, id) => data.equals(Buffer.alloc(5_000, id)))).toBe(true);
    });
  } else {
    it('hands a sent buffer over as it is', async () => {
      const accepted = new Accepted();
      await using fixture = await Fixture.make(tested, { exchange: accepted.handler });
      const { promise: received, resolve } = Promise.withResolvers<Buffer>();
      accepted.recorder.onMessage = (message) => resolve(message.data);
      const data = Buffer.alloc(8, 1);
      fixture.open(new Recorder()).send(parcel(1, data));
      expect(await received).toBe(data);
    });
  }

  it('carries 12 MiB, and refuses 17 MiB by ending the stream', async () => {
    await using fixture = await Fixture.make(tested, { exchange: echo });
    const recorder = new Recorder((message) => {
      if (message.id === 1) stream.send(parcel(2, Buffer.alloc(17 * mebibyte)));
    });
    const stream = fixture.open(recorder);
    stream.send(parcel(1, Buffer.alloc(12 * mebibyte)));
    const error = await recorder.over;
    expect(recorder.ids).toEqual([1]);
    expect(error).toMatchObject({ code: 'BATCH_TOO_LARGE' });
    expect(error?.message).toMatch(/17825\d{3}.*16777216/);
  });

  it('tells the client when the server sends 17 MiB', async () => {
    await using fixture = await Fixture.make(tested, {
      exchange: (stream) => {
        stream.send(parcel(1));
        stream.send(parcel(2, Buffer.alloc(17 * mebibyte)));
        return new Recorder();
      },
    });
    const recorder = new Recorder();
    fixture.open(recorder);
    expect((await recorder.over)?.code).toBe('BATCH_TOO_LARGE');
    expect(recorder.ids).toEqual([1]);
  });
}

function endsOfStreams(tested: TransportConformance): void {
  it('half-close: the server sends on after the client has ended', async () => {
    const accepted = new Accepted();
    await using fixture = await Fixture.make(tested, { exchange: accepted.handler });
    const recorder = new Recorder();
    const client = fixture.open(recorder);
    client.send(parcel(1));
    client.end();
    const { stream, context } = await accepted.ready;
    expect(await accepted.recorder.over).toBeUndefined();
    expect(accepted.recorder.ids).toEqual([1]);
    expect(context.signal.aborted).toBe(false);
    expect(recorder.closings).toEqual([]);
    stream.send(parcel(2));
    stream.send(parcel(3));
    stream.end();
    expect(await recorder.over).toBeUndefined();
    expect(recorder.ids).toEqual([2, 3]);
    await settle();
    expect(context.signal.aborted).toBe(false);
    expect(accepted.recorder.closings.length).toBe(1);
  });

  it('is over for both when the server ends', async () => {
    const accepted = new Accepted();
    await using fixture = await Fixture.make(tested, { exchange: accepted.handler });
    const recorder = new Recorder();
    const client = fixture.open(recorder);
    const { stream, context } = await accepted.ready;
    stream.send(parcel(1));
    stream.end();
    expect(stream.send(parcel(2))).toBe(true);
    expect(await recorder.over).toBeUndefined();
    expect(await accepted.recorder.over).toBeUndefined();
    expect(client.send(parcel(3))).toBe(true);
    client.end();
    client.cancel();
    await settle();
    expect(recorder.ids).toEqual([1]);
    expect(accepted.recorder.ids).toEqual([]);
    expect(context.signal.aborted).toBe(false);
    expect([recorder.closings.length, accepted.recorder.closings.length]).toEqual([1, 1]);
  });

  it('the client cancels', async () => {
    const accepted = new Accepted();
    await using fixture = await Fixture.make(tested, { exchange: accepted.handler });
    const recorder = new Recorder();
    const client = fixture.open(recorder);
    const { stream, context } = await accepted.ready;
    client.cancel(new OperatingError('FENCED', 'a higher epoch exists'));
    expect((await recorder.over)?.code).toBe('FENCED');
    expect((await accepted.recorder.over)?.code).toBe('CANCELLED');
    await aborted(context.signal);
    expect(stream.send(parcel(1))).toBe(true);
    expect(client.send(parcel(1))).toBe(true);
    stream.end();
    await settle();
    expect([recorder.closings.length, accepted.recorder.closings.length]).toEqual([1, 1]);
    expect([recorder.ids, accepted.recorder.ids]).toEqual([[], []]);
  });

  it('the client cancels after it has ended', async () => {
    const accepted = new Accepted();
    await using fixture = await Fixture.make(tested, { exchange: accepted.handler });
    const recorder = new Recorder();
    const client = fixture.open(recorder);
    client.end();
    const { context } = await accepted.ready;
    expect(await accepted.recorder.over).toBeUndefined();
    client.cancel();
    await aborted(context.signal);
    expect((await recorder.over)?.code).toBe('CANCELLED');
    expect(accepted.recorder.closings).toEqual([undefined]);
  });

  it('the server cancels with an error, behind what it has sent', async () => {
    const accepted = new Accepted();
    await using fixture = await Fixture.make(tested, { exchange: accepted.handler });
    const recorder = new Recorder();
    fixture.open(recorder).send(parcel(0));
    const { stream, context } = await accepted.ready;
    const hint = { nodeId: 'journal-2', epoch: 9 };
    stream.send(parcel(1));
    stream.cancel(new OperatingError('NOT_LEADER', 'ask journal-2', hint));
    const error = await recorder.over;
    expect(error).toMatchObject({ code: 'NOT_LEADER', message: 'ask journal-2', hint });
    expect(recorder.ids).toEqual([1]);
    expect((await accepted.recorder.over)?.code).toBe('NOT_LEADER');
    await settle();
    expect([recorder.closings.length, accepted.recorder.closings.length]).toEqual([1, 1]);
    expect(context.signal.aborted).toBe(false);
  });

  it('the server cancels without an error', async () => {
    const accepted = new Accepted();
    await using fixture = await Fixture.make(tested, { exchange: accepted.handler });
    const recorder = new Recorder();
    fixture.open(recorder);
    (await accepted.ready).stream.cancel();
    expect((await recorder.over)?.code).toBe('CANCELLED');
  });

  it('a handler that throws ends the stream with its error', async () => {
    const server = new Recorder(() => {
      throw new OperatingError('CORRUPT_BATCH', 'batch 3 fails its checksum', { epoch: 3 });
    });
    await using fixture = await Fixture.make(tested, { exchange: () => server });
    const recorder = new Recorder();
    const stream = fixture.open(recorder);
    stream.send(parcel(1));
    stream.send(parcel(2));
    expect(await recorder.over).toMatchObject({ code: 'CORRUPT_BATCH', hint: { epoch: 3 } });
    expect((await server.over)?.code).toBe('CORRUPT_BATCH');
    await settle();
    expect(server.ids).toEqual([1]);
  });

  it('a client whose handler throws ends the stream with its error', async () => {
    const accepted = new Accepted();
    await using fixture = await Fixture.make(tested, { exchange: accepted.handler });
    const recorder = new Recorder(() => {
      throw new RangeError('index 7 of 3');
    });
    fixture.open(recorder);
    const { stream } = await accepted.ready;
    stream.send(parcel(1));
    stream.send(parcel(2));
    expect(await recorder.over).toMatchObject({ code: 'INTERNAL', message: 'index 7 of 3' });
    expect((await accepted.recorder.over)?.code).toBe('CANCELLED');
    expect(recorder.ids).toEqual([1]);
  });

  it('a server may refuse a stream by throwing', async () => {
    await using fixture = await Fixture.make(tested, {
      exchange: () => {
        throw new OperatingError('WRONG_CLUSTER', 'this is cluster a');
      },
    });
    const recorder = new Recorder();
    fixture.open(recorder).send(parcel(1));
    expect(await recorder.over).toMatchObject({ code: 'WRONG_CLUSTER' });
    expect(recorder.closings.length).toBe(1);
  });

  it('gives a bug in a handler away', async () => {
    const { promise: bug, resolve } = Promise.withResolvers<AssertionFailure>();
    await using fixture = await Fixture.make(tested, {
      exchange: () =>
        new Recorder(() => {
          throw new AssertionFailure('two is two');
        }),
      onBug: resolve,
    });
    fixture.open(new Recorder()).send(parcel(1));
    expect((await bug).message).toBe('two is two');
  });
}

function flow(tested: TransportConformance): void {
  const bounds = { streamQueueMessagesMax: 16, streamQueueBytesMax: 64 * 1024 };

  /** Sends `count` parcels as a well-behaved producer; tells how often it was stopped. */
  class Producer {
    stops = 0;
    readonly #count: number;
    readonly #size: number;
    #next = 0;
    #stopped = false;

    constructor(count: number, size: number) {
      this.#count = count;
      this.#size = size;
    }

    run(stream: MessageStream<Parcel>): void {
      if (this.#stopped) throw new AssertionFailure('drain comes once for each stop');
      while (this.#next < this.#count) {
        const goOn = stream.send(parcel(this.#next++, Buffer.alloc(this.#size)));
        if (goOn) continue;
        this.stops++;
        return;
      }
      this.#stopped = true;
      stream.end();
    }
  }

  it.each([
    ['messages', 500, 1],
    ['bytes', 200, 10_000],
  ])('stops a client at the bound of %s and lets it go on', async (_bound, count, size) => {
    await using fixture = await Fixture.make(tested, { exchange: echo, ...bounds });
    const producer = new Producer(count, size);
    const recorder = new Recorder();
    const stream: MessageStream<Parcel> = fixture.open({
      message: (message) => recorder.message(message),
      closed: (error) => recorder.closed(error),
      drain: () => producer.run(stream),
    });
    producer.run(stream);
    expect(await recorder.over).toBeUndefined();
    expect(producer.stops).toBeGreaterThan(1);
    expect(recorder.ids.length).toBe(count);
  });

  it('stops a server at the bound and lets it go on, also after the client has ended', async () => {
    const producer = new Producer(500, 1_000);
    await using fixture = await Fixture.make(tested, {
      exchange: (stream) => ({
        message: () => undefined,
        closed: () => producer.run(stream),
        drain: () => producer.run(stream),
      }),
      ...bounds,
    });
    const recorder = new Recorder();
    fixture.open(recorder).end();
    expect(await recorder.over).toBeUndefined();
    expect(producer.stops).toBeGreaterThan(1);
    expect(recorder.ids.length).toBe(500);
  });

  it('delivers what was sent beyond the bound, too', async () => {
    await using fixture = await Fixture.make(tested, { exchange: echo, ...bounds });
    const recorder = new Recorder();
    const stream = fixture.open(recorder);
    const answers = Array.from({ length: 100 }, (_, id) => stream.send(parcel(id)));
    expect(answers.slice(0, 10)).toEqual(Array(10).fill(true));
    expect(answers.slice(20)).toEqual(Array(80).fill(false));
    stream.end();
    await recorder.over;
    expect(recorder.ids.length).toBe(100);
  });
}

function lives(tested: TransportConformance): void {
  it('a stream to where nobody listens is closed with UNAVAILABLE, once', async () => {
    const transport = tested.makeTransport({});
    const server = await listen(transport, '127.0.0.1:0', {});
    await server[Symbol.asyncDispose]();
    await using client = transport.connect(server.address, 'bulk');
    const recorder = new Recorder();
    const stream = client.open(exchangeParcels, recorder);
    stream.send(parcel(1));
    expect((await recorder.over)?.code).toBe('UNAVAILABLE');
    stream.send(parcel(2));
    stream.end();
    await settle();
    expect(recorder.closings.length).toBe(1);
  });

  it('an address that is taken is refused', async () => {
    await using fixture = await Fixture.make(tested, {});
    const again = failure(listen(fixture.transport, fixture.server.address, {}));
    expect(await again).toMatchObject({ code: 'UNAVAILABLE' });
  });

  it('a server that goes closes its streams with UNAVAILABLE, and is found when it is back', async () => {
    const setup: Setup = { ask: (request) => request, exchange: echo, graceMs: 10 };
    await using fixture = await Fixture.make(tested, setup);
    const recorders = [new Recorder(), new Recorder()];
    for (const recorder of recorders) {
      const { promise: answered, resolve } = Promise.withResolvers<void>();
      recorder.onMessage = () => resolve();
      fixture.open(recorder).send(parcel(1));
      await answered;
    }
    await fixture.server[Symbol.asyncDispose]();
    const errors = await Promise.all(recorders.map((recorder) => recorder.over));
    expect(errors.map((error) => error?.code)).toEqual(['UNAVAILABLE', 'UNAVAILABLE']);
    expect((await failure(fixture.ask(parcel(2)))).code).toBe('UNAVAILABLE');

    await using _back = await listen(fixture.transport, fixture.server.address, setup);
    const answer = await untilAvailable(() => fixture.ask(parcel(3)));
    expect(answer.id).toBe(3);
    const recorder = new Recorder();
    const stream = fixture.open(recorder);
    stream.send(parcel(4));
    stream.end();
    expect(await recorder.over).toBeUndefined();
    expect(recorder.ids).toEqual([4]);
    expect(recorders.map((each) => each.closings.length)).toEqual([1, 1]);
  });

  it('a call under way when the server goes is INDETERMINATE, unless it ends in the grace time', async () => {
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const { promise: go, resolve: letGo } = Promise.withResolvers<void>();
    await using fixture = await Fixture.make(tested, {
      ask: async (request) => {
        if (request.id === 1) begin();
        await (request.id === 1 ? go : new Promise<void>(() => undefined));
        return request;
      },
      graceMs: 200,
    });
    const lost = failure(fixture.ask(parcel(2)));
    const saved = fixture.ask(parcel(1));
    await begun;
    const closing = fixture.server[Symbol.asyncDispose]();
    letGo();
    expect((await saved).id).toBe(1);
    expect((await lost).code).toBe('INDETERMINATE');
    await closing;
  });

  it('a server without calls closes at once, and closing twice is closing once', async () => {
    await using fixture = await Fixture.make(tested, { ask: (request) => request, graceMs: 3e5 });
    await fixture.ask(parcel(1));
    await fixture.server[Symbol.asyncDispose]();
    await fixture.server[Symbol.asyncDispose]();
  });

  it('a client that is disposed ends what it has open', async () => {
    const accepted = new Accepted();
    await using fixture = await Fixture.make(tested, {
      exchange: accepted.handler,
      ask: () => new Promise(() => undefined),
    });
    const recorder = new Recorder();
    fixture.open(recorder);
    const call = failure(fixture.ask(parcel(1)));
    await accepted.ready;
    await fixture.client[Symbol.asyncDispose]();
    expect((await call).code).toBe('CANCELLED');
    expect((await recorder.over)?.code).toBe('CANCELLED');
    expect((await accepted.recorder.over)?.code).toBe('CANCELLED');
    expect((await failure(fixture.ask(parcel(1)))).code).toBe('CANCELLED');
    const late = new Recorder();
    fixture.open(late).send(parcel(1));
    expect((await late.over)?.code).toBe('CANCELLED');
  });
}

/** Tries again while the server is not back. */
async function untilAvailable<T>(call: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await call();
    } catch (thrown) {
      const unavailable = thrown instanceof OperatingError && thrown.code === 'UNAVAILABLE';
      if (!unavailable || attempt === 200) throw thrown;
      await delay(systemClock(), 10);
    }
  }
}
