import { delay, OperatingError, systemClock } from '@robustmq/core';
import { expect, it } from 'vitest';
import { exchangeParcels, parcel } from './parcel.ts';
import {
  Accepted,
  echo,
  failure,
  Fixture,
  listen,
  Recorder,
  type Setup,
  settle,
  type TransportConformance,
} from './transport-fixture.ts';

/** Servers and clients that come and go. */
export function lives(tested: TransportConformance): void {
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
    for (const error of errors) {
      expect(error).toMatchObject({ code: 'UNAVAILABLE' });
      expect(error?.message).toMatch(/has shut down$/);
    }
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
