import { expect, it } from 'vitest';

import { TurnTime } from './turn-time.ts';

it('the wall clock is read once per turn, and anew in the next', async () => {
  let reads = 0;
  const time = new TurnTime({ wallMs: () => ++reads });
  for (let turn = 1; turn <= 3; turn++) {
    expect([time.wallMs, time.wallMs]).toEqual([turn, turn]);
    await new Promise((resolve) => setImmediate(resolve));
  }
});
