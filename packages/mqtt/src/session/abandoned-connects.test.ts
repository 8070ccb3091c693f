import { OperatingError } from '@robustmq/core';
import { turns, VirtualClock } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';
import { type AbandonedConnect, AbandonedConnects } from './abandoned-connects.ts';

describe('abandoned CONNECTs', () => {
  it('are told until it succeeds, 64 at a time, and 500 of them are enough', async () => {
    const clock = new VirtualClock();
    const told = new Set<AbandonedConnect>();
    let isAway = true;
    let underWay = 0;
    let underWayMost = 0;
    const tell = async (connect: AbandonedConnect): Promise<void> => {
      underWayMost = Math.max(underWayMost, ++underWay);
      await turns(1);
      underWay--;
      if (isAway) throw new OperatingError('UNAVAILABLE', 'away');
      told.add(connect);
    };
    const abandoned = new AbandonedConnects({ clock, tell });
    for (let i = 0; i < 500; i++) {
      expect(abandoned.full).toBe(false);
      abandoned.add({ clientId: `c${i}`, connectionId: `${i}` });
    }
    expect(abandoned.full).toBe(true);
    await clock.advance(60_000);
    expect(told.size).toBe(0);
    isAway = false;
    await clock.advance(20_000);
    expect(told.size).toBe(500);
    expect(abandoned.full).toBe(false);
    expect(underWayMost).toBe(64);
  });

  it('are forgotten when the broker ends', async () => {
    const clock = new VirtualClock();
    let tries = 0;
    const tell = (): Promise<void> => {
      tries++;
      return Promise.reject(new OperatingError('UNAVAILABLE', 'away'));
    };
    const abandoned = new AbandonedConnects({ clock, tell });
    abandoned.add({ clientId: 'c', connectionId: '1' });
    await clock.advance(1000);
    abandoned[Symbol.dispose]();
    const before = tries;
    expect(before).toBeGreaterThan(2);
    await clock.advance(60_000);
    expect(tries).toBe(before);
  });
});
