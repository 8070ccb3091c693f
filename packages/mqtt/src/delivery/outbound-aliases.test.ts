import { seededRandom } from '@robustmq/core';
import { describe, expect, it } from 'vitest';

import { OutboundAliases } from './outbound-aliases.ts';

/** Sends to a topic as a connection does; returns the alias that went with it, negative when it was set. */
function send(aliases: OutboundAliases, name: string): number {
  const topic = Buffer.from(name);
  const known = aliases.of(topic);
  if (known > 0) return known;
  const free = aliases.freeFor(topic);
  if (free > 0) aliases.set(free, topic);
  return free === 0 ? 0 : -free;
}

describe('OutboundAliases', () => {
  it('gives the first topics one each, at once', () => {
    const aliases = new OutboundAliases(2);
    expect(['a/long', 'b/long', 'a/long', 'b/long'].map((name) => send(aliases, name))).toEqual([
      -1, -2, 1, 2,
    ]);
  });

  it('takes one from a topic that is not sent any more', () => {
    const aliases = new OutboundAliases(2);
    for (const name of ['a/long', 'b/long', 'a/long', 'b/long']) send(aliases, name);
    // Both were used: one round for each.
    expect([1, 2, 3, 4].map(() => send(aliases, 'c/long'))).toEqual([0, 0, -1, 1]);
    expect(send(aliases, 'a/long')).toBe(-2);
  });

  it('is of use to some when more topics than aliases are sent in turn', () => {
    const aliases = new OutboundAliases(4);
    let known = 0;
    for (let at = 0; at < 500; at++) if (send(aliases, `topic/${at % 5}`) > 0) known++;
    expect(known).toBeGreaterThan(350);
  });

  it('has none for names that are no longer than an alias, or very long', () => {
    const aliases = new OutboundAliases(2);
    expect(send(aliases, 'abc')).toBe(0);
    expect(send(aliases, 'x'.repeat(1025))).toBe(0);
    expect(send(aliases, 'x'.repeat(1024))).toBe(-1);
  });

  it('[MQTT5-3.1.2-26, -3.3.2-8, -3.3.2-11] is always understood, and within the maximum', () => {
    const random = seededRandom(7);
    for (const max of [1, 2, 7]) {
      const aliases = new OutboundAliases(max);
      const client = new Map<number, string>();
      for (let at = 0; at < 2000; at++) {
        const name = `topic/${Math.floor(random.next() ** 2 * 12)}`;
        const alias = send(aliases, name);
        expect(Math.abs(alias)).toBeLessThanOrEqual(max);
        if (alias < 0) client.set(-alias, name);
        else if (alias > 0) expect(client.get(alias)).toBe(name);
      }
    }
  });
});
