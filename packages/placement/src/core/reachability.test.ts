import { describe, expect, it } from 'vitest';
import { Reachability, type ReachedSegment } from './reachability.ts';

const three: ReachedSegment = {
  leaderNodeId: 'a',
  replicaNodeIds: ['a', 'b', 'c'],
  ackQuorum: 2,
};
const all = ['a', 'b', 'c'];

/** Heartbeats each 500 ms of one journal whose peers are silent since `sinceMs`. */
class Teller {
  readonly reach: Reachability;
  nowMs = 10_000;

  constructor(reach = new Reachability(1_000)) {
    this.reach = reach;
  }

  /** Tells for `ms` that these are silent since now. Returns after how long the first was cut; 0 when none. */
  silent(nodeId: string, peers: readonly string[], ms: number): number {
    const sinceMs = this.nowMs;
    let cutAfterMs = 0;
    while (this.nowMs < sinceMs + ms) {
      this.nowMs += 500;
      const silentMs = this.nowMs - sinceMs;
      const changes = this.reach.told(
        nodeId,
        peers.map((peer) => ({ nodeId: peer, silentMs })),
        this.nowMs,
      );
      if (cutAfterMs === 0 && changes.size > 0) cutAfterMs = silentMs;
    }
    return cutAfterMs;
  }

  well(nodeId: string): void {
    this.nowMs += 500;
    this.reach.told(nodeId, [], this.nowMs);
  }
}

describe('reachability', () => {
  it('believes a silence that two heartbeats tell of once it lasts a second', () => {
    const teller = new Teller();
    expect(teller.silent('a', ['b'], 500)).toBe(0);
    teller.well('a');
    expect(teller.reach.reaches('a', 'b')).toBe(true);
    expect(teller.silent('a', ['b'], 2_000)).toBe(1_000);
    expect([teller.reach.reaches('a', 'b'), teller.reach.reaches('b', 'a')]).toEqual([
      false,
      false,
    ]);
    expect(teller.reach.reaches('a', 'c')).toBe(true);
  });

  it('does not take silences that begin anew for one', () => {
    const teller = new Teller();
    for (let times = 0; times < 5; times++) {
      teller.reach.told('a', [{ nodeId: 'b', silentMs: 1_200 }], (teller.nowMs += 5_000));
    }
    expect(teller.reach.isWhole).toBe(true);
  });

  it('knows who is connected to most others, or takes all when nobody is', () => {
    const reach = new Reachability(1_000);
    expect(reach.connected(all)).toEqual(all);
    new Teller(reach).silent('a', ['b', 'c'], 2_000);
    expect(reach.connected(all)).toEqual(['b', 'c']);
    new Teller(reach).silent('b', ['c'], 2_000);
    expect(reach.connected(all)).toEqual(all);
  });

  it('doubts nobody whose answer is just under way', () => {
    const reach = new Reachability(1_000);
    new Teller(reach).silent('a', ['b', 'c'], 2_000);
    reach.told('b', [{ nodeId: 'c', silentMs: 400 }], 20_000);
    expect(reach.isCutOff(three, all, all)).toBe(true);
    reach.told('b', [{ nodeId: 'c', silentMs: 600 }], 20_000);
    expect(reach.isCutOff(three, all, all)).toBe(false);
  });

  it('takes a heartbeat that comes late for no new silence', () => {
    const teller = new Teller();
    teller.silent('a', ['b'], 2_000);
    const changes = teller.reach.told('a', [{ nodeId: 'b', silentMs: 2_100 }], teller.nowMs + 900);
    expect([changes.size, teller.reach.reaches('a', 'b')]).toEqual([0, false]);
  });

  it('heals with the next heartbeat that tells of none, or when the journal begins anew', () => {
    const teller = new Teller();
    teller.silent('a', ['b', 'c'], 3_000);
    teller.well('a');
    expect(teller.reach.isWhole).toBe(true);
    teller.silent('a', ['b', 'c'], 3_000);
    teller.reach.forget('a');
    expect(teller.reach.isWhole).toBe(true);
  });

  it('waits longer after a false alarm, and while an event loop is late', () => {
    const teller = new Teller();
    expect(teller.silent('a', ['b'], 1_000)).toBe(1_000);
    teller.well('a');
    expect(teller.silent('a', ['b'], 4_500)).toBe(2_000);
    teller.well('a');
    teller.reach.lags('c', 1_500);
    expect(teller.silent('a', ['c'], 5_000)).toBe(3_500);
  });

  it.each<[string, [string, string[]][], boolean]>([
    ['nobody is silent', [], false],
    ['one follower is: the quorum is met', [['a', ['b']]], false],
    ['both followers are, and reach each other', [['a', ['b', 'c']]], true],
    [
      'the followers say so of their leader',
      [
        ['b', ['a']],
        ['c', ['a']],
      ],
      true,
    ],
    ['the followers are cut from each other, the leader is not', [['b', ['c']]], false],
    [
      'nobody reaches anybody',
      [
        ['a', ['b', 'c']],
        ['b', ['c']],
      ],
      false,
    ],
  ])('%s: cut off is %s', (_, told, isCutOff) => {
    const reach = new Reachability(1_000);
    for (const [nodeId, peers] of told) new Teller(reach).silent(nodeId, peers, 2_000);
    expect(reach.isCutOff(three, all, all)).toBe(isCutOff);
  });

  it('leaves a leader alone whose peers nobody else may lead with', () => {
    const reach = new Reachability(1_000);
    new Teller(reach).silent('a', ['b', 'c'], 2_000);
    expect(reach.isCutOff(three, all, ['a', 'b'])).toBe(false);
    expect(reach.isCutOff(three, ['a', 'b'], ['a', 'b', 'd'])).toBe(true);
  });
});
