import { describe, expect, it } from 'vitest';

import { Gate, type GateLimits, Place } from './gate.ts';

const wide: GateLimits = {
  connectionsMax: 1_000,
  connectsPerSecondMax: 0,
  connectionsPerAddressMax: 0,
};

function gate(limits: Partial<GateLimits>): Gate {
  return new Gate({ ...wide, ...limits }, 0);
}

/** A place from that address, or why there is none. */
function enter(gates: readonly Gate[], address = '10.0.0.1'): Place | string {
  const place = Place.take(gates, 0);
  if (typeof place === 'string') return place;
  return place.enterFrom(address) ?? place;
}

describe('places', () => {
  it('are as many as allowed, and are given back once', () => {
    const node = gate({ connectionsMax: 2 });
    const first = enter([node]) as Place;
    enter([node]);
    expect(enter([node])).toBe('connections');
    first.leave();
    first.leave();
    expect(node.taken).toBe(1);
    expect(enter([node])).toBeInstanceOf(Place);
  });

  it('of a node are not taken when the listener has none', () => {
    const node = gate({});
    const listener = gate({ connectsPerSecondMax: 1 });
    enter([node, listener]);
    expect(enter([node, listener])).toBe('connect_rate');
    expect([node.taken, listener.taken]).toEqual([1, 1]);
  });

  it('of an address are as many as the strictest gate allows, and nothing stays behind', () => {
    const node = gate({ connectionsPerAddressMax: 3 });
    const listener = gate({ connectionsPerAddressMax: 1 });
    const first = enter([node, listener], '2001:db8::1') as Place;
    expect(enter([node, listener], '2001:db8::2')).toBe('address_connections');
    expect(enter([node, listener], '2001:db8:0:1::1')).toBeInstanceOf(Place);
    expect([node.taken, listener.taken]).toEqual([2, 2]);
    // The refused one counts at neither gate.
    enter([node], '2001:db8::3');
    enter([node], '2001:db8::4');
    expect(enter([node], '2001:db8::5')).toBe('address_connections');
    first.leave();
    expect(enter([node, listener], '2001:db8::6')).toBeInstanceOf(Place);
  });
});
