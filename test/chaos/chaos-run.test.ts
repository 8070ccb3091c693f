import { describe, expect, it } from 'vitest';

import { runChaos } from './chaos-run.ts';
import { Deck } from './faults/deck.ts';
import { ClusterNetwork } from './cluster/network.ts';

const timeout = 240_000;

/** `pnpm chaos` does the same for longer. */
describe('a cluster whose processes, network and disks are harmed', () => {
  const reason = ClusterNetwork.missing();
  if (reason !== undefined) console.warn(`partitions and full disks are not tried: ${reason}`);
  const skipped = reason === undefined ? '' : ` (skipped: ${reason})`;

  it('loses, repeats, changes and reorders nothing, with what needs no root', { timeout }, () =>
    check({ seed: 7, rounds: 3, plain: true }),
  );

  it.skipIf(reason !== undefined)(`and nothing with partitions${skipped}`, { timeout }, () =>
    check({ seed: 3, rounds: 2, plain: false, only: 'cut off' }),
  );

  async function check(options: {
    seed: number;
    rounds: number;
    plain: boolean;
    only?: string;
  }): Promise<void> {
    const lines: string[] = [];
    const log = (line: string): unknown => lines.push(line);
    const { seed, plain, rounds, only } = options;
    const faults = (): Deck => new Deck(rounds, only);
    const result = await runChaos({ seed, plain, faults, journals: 3, disks: 'own', log });
    expect(result.stuck, lines.join('\n')).toBeUndefined();
    expect(result.violations, lines.join('\n')).toEqual([]);
    expect(result.acknowledged).toBeGreaterThan(0);
    expect(Object.keys(result.counts)).not.toEqual([]);
  }
});
