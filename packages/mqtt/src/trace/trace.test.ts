import type { TraceResponse } from '@robustmq/rpc';
import { turns, VirtualClock } from '@robustmq/testkit';
import { expect, it } from 'vitest';

import { Trace } from './trace.ts';

it('keeps what the operator does not take up to a bound, and tells in its place how much it dropped', async () => {
  const got: TraceResponse[] = [];
  let takes = false;
  const sink = (response: TraceResponse): boolean => {
    got.push(response);
    return takes;
  };
  const wanted = { clientId: 'c', topicFilter: '', payload: false };
  const trace = new Trace(wanted, sink, new VirtualClock());
  trace.add('c', 'first');
  await turns(1);
  for (let at = 0; at < 6_000; at++) trace.add('c', `${at}`);
  await turns(1);
  // The sink took the first one and wants no more.
  expect(got).toHaveLength(1);
  takes = true;
  trace.drained();
  trace.add('c', 'last');
  await turns(1);
  const told = got.flatMap(({ lines, dropped }) =>
    dropped > 0 ? [`dropped ${dropped}`] : lines.map(({ text }) => text),
  );
  expect(told).toHaveLength(1 + 5_000 + 2);
  expect(told.slice(0, 2)).toEqual(['first', '0']);
  expect(told.slice(-3)).toEqual(['4999', 'dropped 1000', 'last']);
});
