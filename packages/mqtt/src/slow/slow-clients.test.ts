import { VirtualClock } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';

import { SlowClients } from './slow-clients.ts';

describe('SlowClients', () => {
  it('has the longest wait of each, the slowest first, and those that lag', () => {
    const lagging = [
      { clientId: 'b', lagRecords: 7 },
      { clientId: 'stuck', lagRecords: 9 },
    ];
    const slow = new SlowClients(new VirtualClock(1_000), 500, () => lagging);
    slow.note('a', 499, 'not/late');
    slow.note('b', 600, 'first');
    slow.note('b', 550, 'second');
    slow.note('c', 700, 'third');
    expect(slow.count).toBe(2);
    expect(slow.slowest(10)).toEqual([
      { clientId: 'c', waitedMs: 700, topic: 'third', atMs: 1_000, lagRecords: 0 },
      { clientId: 'b', waitedMs: 600, topic: 'first', atMs: 1_000, lagRecords: 7 },
      { clientId: 'stuck', waitedMs: 0, topic: '', atMs: 0, lagRecords: 9 },
    ]);
    expect(slow.slowest(1)).toHaveLength(1);
  });

  it('forgets who got nothing late for five minutes', async () => {
    const clock = new VirtualClock();
    const slow = new SlowClients(clock, 500, () => []);
    slow.note('a', 600, 't');
    slow.note('b', 600, 't');
    await clock.advance(200_000);
    slow.note('b', 501, 't');
    await clock.advance(100_001);
    expect(slow.slowest(10).map(({ clientId }) => clientId)).toEqual(['b']);
  });

  it('keeps those who waited longest when there are too many', () => {
    const slow = new SlowClients(new VirtualClock(), 500, () => []);
    for (let at = 0; at < 1_500; at++) slow.note(`${at}`, 1_000 + ((at * 7) % 1_500), 't');
    const waits = slow.slowest(2_000).map(({ waitedMs }) => waitedMs);
    expect(waits).toHaveLength(1_000);
    expect(Math.min(...waits)).toBe(1_500);
  });

  it('has nobody when it is off', () => {
    const slow = new SlowClients(new VirtualClock(), 0, () => []);
    slow.note('a', 1e9, 't');
    expect(slow.count).toBe(0);
  });
});
