import { turns, VirtualClock } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';

import { ReplayPace } from './replay-pace.ts';

/** Sends as fast as it may; `sent` grows. */
class Sender {
  sent = 0;
  #isStopped = false;

  constructor(pace: ReplayPace) {
    void this.#run(pace);
  }

  stop(): void {
    this.#isStopped = true;
  }

  async #run(pace: ReplayPace): Promise<void> {
    const own = pace.client();
    while (!this.#isStopped) {
      await own.take();
      this.sent++;
    }
  }
}

describe('the pace of retained messages', () => {
  it('is that of a client for one, and shared out when the broker has reached its own', async () => {
    const clock = new VirtualClock();
    const pace = new ReplayPace({ clock, perSecond: 3000, clientPerSecond: 1000 });
    const first = new Sender(pace);
    for (let ms = 0; ms < 1000; ms += 5) await clock.advance(5);
    expect(first.sent).toBeGreaterThan(900);
    expect(first.sent).toBeLessThan(1200);
    const others = Array.from({ length: 9 }, () => new Sender(pace));
    const before = first.sent;
    for (let ms = 0; ms < 1000; ms += 5) await clock.advance(5);
    const all = [first.sent - before, ...others.map(({ sent }) => sent)];
    expect(all.reduce((sum, sent) => sum + sent)).toBeLessThan(3400);
    expect(Math.min(...all), 'nobody waits for the others').toBeGreaterThan(200);
    for (const each of [first, ...others]) each.stop();
    pace[Symbol.dispose]();
  });

  it('without limits still lets others have their turn', async () => {
    const pace = new ReplayPace({ clock: new VirtualClock(), perSecond: 0, clientPerSecond: 0 });
    const one = new Sender(pace);
    await turns(10);
    expect(one.sent).toBeGreaterThan(64);
    expect(one.sent).toBeLessThan(64 * 12);
    one.stop();
    const many = Array.from({ length: 100 }, () => new Sender(pace));
    await turns(3);
    const sent = many.reduce((sum, each) => sum + each.sent, 0);
    expect(sent, 'in a turn 8 portions of 64').toBeLessThanOrEqual(64 * 8 * 4);
    for (const each of many) each.stop();
    pace[Symbol.dispose]();
  });

  it('of one client holds up no other', async () => {
    const pace = new ReplayPace({
      clock: new VirtualClock(),
      perSecond: 0,
      clientPerSecond: 1,
    });
    const first = new Sender(pace);
    await turns(3);
    const second = new Sender(pace);
    await turns(3);
    expect([first.sent, second.sent]).toEqual([1, 1]);
    pace[Symbol.dispose]();
  });

  it('is as slow as one in a second', async () => {
    const clock = new VirtualClock();
    const pace = new ReplayPace({ clock, perSecond: 0, clientPerSecond: 1 });
    const one = new Sender(pace);
    for (let second = 0; second < 5; second++) await clock.advance(1000);
    expect(one.sent).toBeGreaterThanOrEqual(5);
    expect(one.sent).toBeLessThanOrEqual(6);
    one.stop();
    pace[Symbol.dispose]();
  });
});
