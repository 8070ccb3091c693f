import { describe, expect, it } from 'vitest';

import { runKills } from './kill-run.ts';

/** `pnpm chaos` does more than that, for longer. */
describe('SIGKILL under QoS 1 and QoS 2 load', () => {
  it.each([
    { seed: 1, victims: ['journal'] as const },
    { seed: 2, victims: ['broker'] as const },
    { seed: 3, victims: ['placement'] as const },
    { seed: 4, victims: ['journal', 'broker', 'placement'] as const },
    { seed: 5, victims: ['journal', 'broker'] as const, journals: 3 },
  ])('$victims, seed $seed: nothing acknowledged is lost', { timeout: 180_000 }, async (each) => {
    const { violations, acknowledged, kills } = await runKills({ ...each, rounds: 3 });
    expect(violations).toEqual([]);
    expect(acknowledged).toBeGreaterThan(0);
    expect(kills).toBeGreaterThanOrEqual(3);
  });
});
