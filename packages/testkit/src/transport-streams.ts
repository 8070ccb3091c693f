import { AssertionFailure, OperatingError } from '@robustmq/core';
import { expect, it } from 'vitest';
import { parcel } from './parcel.ts';
import {
  aborted,
  Accepted,
  echo,
  Fixture,
  mebibyte,
  Recorder,
  settle,
  type TransportConformance,
} from './transport-fixture.ts';

/** What streams carry. */
export function streams(tested: TransportConformance): void {
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

/** How streams end, and who is told what. */
export function endsOfStreams(tested: TransportConformance): void {
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
