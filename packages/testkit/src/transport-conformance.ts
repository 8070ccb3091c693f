import { describe } from 'vitest';
import type { TransportConformance } from './transport-fixture.ts';
import { unaryCalls } from './transport-calls.ts';
import { flow } from './transport-flow.ts';
import { lives } from './transport-lives.ts';
import { endsOfStreams, streams } from './transport-streams.ts';

export type { TestedTransportOptions, TransportConformance } from './transport-fixture.ts';

/** What every transport must do, so that nothing above it knows which one it runs on. */
export function transportConformance(name: string, tested: TransportConformance): void {
  describe(name, () => {
    describe('unary calls', () => unaryCalls(tested));
    describe('streams', () => streams(tested));
    describe('ends of streams', () => endsOfStreams(tested));
    describe('flow', () => flow(tested));
    describe('lives of servers and clients', () => lives(tested));
  });
}
