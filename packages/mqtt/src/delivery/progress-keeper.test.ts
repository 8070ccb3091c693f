import { OperatingError, silentLogger } from '@robustmq/core';
import { turns, VirtualClock } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';

import type { SessionGateway, SessionProgress } from '../session/session-gateway.ts';
import { ProgressKeeper, type ProgressSource } from './progress-keeper.ts';

interface Call {
  readonly clientId: string;
  readonly positions: number;
  readonly answer: PromiseWithResolvers<void>;
}

class Source implements ProgressSource {
  readonly grant;
  ended = false;
  at = 0;
  stored = 0;

  constructor(clientId: string) {
    this.grant = { clientId, epoch: 1 };
  }

  progress(): SessionProgress {
    this.at++;
    return { positions: [], window: [], complete: true, trimmed: undefined, replays: [] };
  }

  progressStored(): void {
    this.stored++;
  }
}

function keeperOf(): {
  keeper: ProgressKeeper;
  clock: VirtualClock;
  calls: Call[];
  fenced: string[];
} {
  const clock = new VirtualClock();
  const calls: Call[] = [];
  const fenced: string[] = [];
  const progress: SessionGateway['progress'] = ({ clientId }, { positions }) => {
    const answer = Promise.withResolvers<void>();
    calls.push({ clientId, positions: positions.length, answer });
    return answer.promise;
  };
  const keeper = new ProgressKeeper({
    // It uses nothing else.
    gateway: { progress } as unknown as SessionGateway,
    clock,
    delayMs: 500,
    logger: silentLogger(),
    fenced: ({ grant }) => fenced.push(grant.clientId),
  });
  return { keeper, clock, calls, fenced };
}

describe('ProgressKeeper', () => {
  it('stores what may wait once for all, after the delay', async () => {
    const { keeper, clock, calls } = keeperOf();
    const [a, b] = [new Source('a'), new Source('b')];
    for (let at = 0; at < 5; at++) for (const one of [a, b]) keeper.later(one);
    await clock.advance(499);
    expect(calls).toEqual([]);
    await clock.advance(1);
    expect(calls.map(({ clientId }) => clientId)).toEqual(['a', 'b']);
    expect(clock.pending).toBe(0);
  });

  it('stores what is urgent at the end of the turn, one call per session at a time', async () => {
    const { keeper, clock, calls } = keeperOf();
    const a = new Source('a');
    keeper.now(a);
    keeper.now(a);
    expect(calls).toEqual([]);
    await turns(2);
    expect(calls).toHaveLength(1);
    keeper.now(a);
    keeper.later(a);
    await clock.advance(1000);
    expect(calls).toHaveLength(1);
    calls[0]?.answer.resolve();
    await turns(3);
    expect(a.stored).toBe(1);
    expect(calls).toHaveLength(2);
    calls[1]?.answer.resolve();
    await turns(2);
    expect(a.stored).toBe(2);
  });

  it('says it again after the delay when it failed, and lets nothing go before', async () => {
    const { keeper, clock, calls } = keeperOf();
    const a = new Source('a');
    keeper.now(a);
    await turns(2);
    calls[0]?.answer.reject(new OperatingError('UNAVAILABLE', 'away'));
    await turns(2);
    expect(a.stored).toBe(0);
    expect(calls).toHaveLength(1);
    await clock.advance(500);
    expect(calls).toHaveLength(2);
    calls[1]?.answer.resolve();
    await turns(2);
    expect(a.stored).toBe(1);
  });

  it('tells when a session was taken over, and forgets one that has ended', async () => {
    const { keeper, clock, calls, fenced } = keeperOf();
    const [a, b] = [new Source('a'), new Source('b')];
    keeper.now(a);
    keeper.later(b);
    keeper.forget(b);
    await turns(2);
    calls[0]?.answer.reject(new OperatingError('FENCED', 'taken over'));
    await clock.advance(1000);
    expect(fenced).toEqual(['a']);
    expect(calls).toHaveLength(1);
    a.ended = true;
    keeper.now(a);
    await turns(2);
    calls[1]?.answer.resolve();
    await turns(2);
    expect(a.stored).toBe(0);
  });
});
