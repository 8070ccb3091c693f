import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import type { OperatingError } from '@robustmq/core';
import { askParcel, exchangeParcels, type Parcel, parcel } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';
import type { CallContext, Method, MessageStream } from '../transport.ts';
import { grpcTransport } from './grpc-transport.ts';

/** A TCP relay whose connections a test can break or freeze. */
class Relay implements AsyncDisposable {
  readonly #sockets = new Set<Socket>();
  readonly #server;

  constructor(target: string) {
    const port = Number(target.split(':').at(-1));
    this.#server = createServer((near) => {
      const far = connect(port, '127.0.0.1');
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket.on('error', () => socket.destroy());
        socket.on('close', () => {
          near.destroy();
          far.destroy();
        });
      }
      near.on('data', (data) => far.write(data));
      far.on('data', (data) => near.write(data));
    });
  }

  async listen(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  freeze(): void {
    for (const socket of this.#sockets) socket.pause();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

interface ServerSide {
  readonly begun: Promise<CallContext>;
  readonly closed: Promise<OperatingError | undefined>;
}

/** A server behind a relay: unary calls never return, streams answer each message. */
async function behindRelay(
  test: (relay: Relay, address: string, server: ServerSide) => Promise<void>,
): Promise<void> {
  const begun = Promise.withResolvers<CallContext>();
  const closed = Promise.withResolvers<OperatingError | undefined>();
  await using server = await grpcTransport({ graceMs: 0 }).listen('127.0.0.1:0', (registry) => {
    registry.unary(askParcel, (_request, context) => {
      begun.resolve(context);
      return new Promise(() => undefined);
    });
    registry.stream(exchangeParcels, (stream) => ({
      message: (message) => void stream.send(message),
      closed: closed.resolve,
    }));
  });
  await using relay = new Relay(server.address);
  await test(relay, await relay.listen(), { begun: begun.promise, closed: closed.promise });
}

/** A stream that has carried a message both ways, and how it ends. */
async function running(
  open: (handlers: {
    message(): void;
    closed(error: OperatingError | undefined): void;
  }) => MessageStream<Parcel>,
): Promise<Promise<OperatingError | undefined>[]> {
  const answered = Promise.withResolvers<void>();
  const over = Promise.withResolvers<OperatingError | undefined>();
  const stream = open({ message: () => answered.resolve(), closed: over.resolve });
  stream.send(parcel(1));
  await answered.promise;
  return [over.promise]; // In a list: an async function would wait for it.
}

describe('a connection that breaks', () => {
  it('ends streams with UNAVAILABLE, and with CANCELLED at the server', async () => {
    await behindRelay(async (relay, address, server) => {
      await using client = grpcTransport().connect(address, 'bulk');
      const [over] = await running((handlers) => client.open(exchangeParcels, handlers));
      relay.cut();
      expect((await over)?.code).toBe('UNAVAILABLE');
      expect((await server.closed)?.code).toBe('CANCELLED');
      const [again] = await running((handlers) => client.open(exchangeParcels, handlers));
      expect(again).toBeInstanceOf(Promise);
    });
  });

  it('makes a call under way INDETERMINATE, and tells its handler', async () => {
    await behindRelay(async (relay, address, server) => {
      await using client = grpcTransport().connect(address, 'bulk');
      const call = client.call(askParcel, parcel(1)).catch((error: unknown) => error);
      const context = await server.begun;
      const gone = once(context.signal, 'abort');
      relay.cut();
      expect(await call).toMatchObject({ code: 'INDETERMINATE' });
      await gone;
    });
  });

  it.each(['control', 'replication'] as const)(
    'is noticed on a %s channel when it only falls silent',
    async (kind) => {
      await behindRelay(async (relay, address) => {
        await using client = grpcTransport().connect(address, kind);
        const [over] = await running((handlers) => client.open(exchangeParcels, handlers));
        relay.freeze();
        expect((await over)?.code).toBe('UNAVAILABLE');
      });
    },
  );
});

describe('bytes that are not a message', () => {
  const garbage = <T>(method: Method<Parcel, T>): Method<Parcel, T> => ({
    ...method,
    requestSerialize: () => Buffer.from([1, 2]),
  });

  it('end a stream and a call with INVALID_ARGUMENT', async () => {
    await using server = await grpcTransport({ graceMs: 0 }).listen('127.0.0.1:0', (registry) => {
      registry.unary(askParcel, (request) => request);
      registry.stream(exchangeParcels, () => ({
        message: () => undefined,
        closed: () => undefined,
      }));
    });
    await using client = grpcTransport().connect(server.address, 'bulk');
    await expect(client.call(garbage(askParcel), parcel(1))).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    const over = Promise.withResolvers<OperatingError | undefined>();
    const stream = client.open(garbage(exchangeParcels), {
      message: () => undefined,
      closed: over.resolve,
    });
    stream.send(parcel(1));
    expect(await over.promise).toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});
