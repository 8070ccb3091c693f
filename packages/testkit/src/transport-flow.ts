import { AssertionFailure } from '@robustmq/core';
import type { MessageStream } from '@robustmq/rpc';
import { expect, it } from 'vitest';
import { type Parcel, parcel } from './parcel.ts';
import { echo, Fixture, Recorder, type TransportConformance } from './transport-fixture.ts';

/** Back-pressure. */
export function flow(tested: TransportConformance): void {
  const bounds = { streamQueueMessagesMax: 16, streamQueueBytesMax: 64 * 1024 };

  /** Sends `count` parcels as a well-behaved producer; tells how often it was stopped. */
  class Producer {
    stops = 0;
    readonly #count: number;
    readonly #size: number;
    #next = 0;
    #done = false;

    constructor(count: number, size: number) {
      this.#count = count;
      this.#size = size;
    }

    run(stream: MessageStream<Parcel>): void {
      if (this.#done) throw new AssertionFailure('nobody is told to go on who has ended');
      while (this.#next < this.#count) {
        const goOn = stream.send(parcel(this.#next++, Buffer.alloc(this.#size)));
        if (goOn) continue;
        this.stops++;
        return;
      }
      this.#done = true;
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
