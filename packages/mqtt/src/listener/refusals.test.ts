import { type Logger, silentLogger } from '@robustmq/core';
import { VirtualClock } from '@robustmq/testkit';
import { expect, it } from 'vitest';

import { Refusals } from './refusals.ts';

it('every refusal is counted, and each reason is logged at most every 10 s, with how many', async () => {
  const lines: object[] = [];
  const logger: Logger = { ...silentLogger(), warn: (fields) => lines.push(fields) };
  const clock = new VirtualClock();
  const refusals = new Refusals('door', { clock, logger });
  for (let at = 0; at < 5; at++) refusals.add('connections', { address: `10.0.0.${at}` });
  refusals.add('tls');
  expect(lines).toEqual([
    { listener: 'door', reason: 'connections', refused: 1, address: '10.0.0.0' },
    { listener: 'door', reason: 'tls', refused: 1 },
  ]);
  await clock.advance(10_000);
  refusals.add('connections');
  expect(lines.at(-1)).toEqual({ listener: 'door', reason: 'connections', refused: 5 });
  expect(Object.fromEntries(refusals.counts)).toEqual({ connections: 6, tls: 1 });
});
