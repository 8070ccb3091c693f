import { AssertionFailure, type ErrorCode, errorTable, OperatingError } from '@robustmq/core';
import type { CallContext } from '@robustmq/rpc';
import { expect, it } from 'vitest';
import { askParcel, parcel } from './parcel.ts';
import {
  aborted,
  failure,
  Fixture,
  listen,
  mebibyte,
  Recorder,
  settle,
  type TransportConformance,
} from './transport-fixture.ts';

/** Unary calls. */
export function unaryCalls(tested: TransportConformance): void {
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
      ask: async (request, context) => {
        if (request.id === 1) return request;
        await aborted(context.signal);
        resolve();
        return parcel(0);
      },
    });
    // Connected: the time is the server's alone.
    await fixture.ask(parcel(1));
    expect((await failure(fixture.ask(parcel(2), 50))).code).toBe('INDETERMINATE');
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
