import { describe, expect, it } from 'vitest';
import { BrokerReports } from './broker-reports.ts';

describe('reports of brokers', () => {
  it.each([
    [['b1'], ['b1'], true],
    [['b1', 'b2'], ['b1'], true],
    [['b1', 'b2', 'b3'], ['b1'], false],
    [['b1', 'b2', 'b3'], ['b1', 'b2'], true],
    [['b1'], ['somebody else'], false],
    [[], ['b1'], false],
  ])('of brokers %j those of %j count: %s', (brokers, telling, isLost) => {
    const reports = new BrokerReports();
    for (const broker of telling) reports.report('a', broker, 100);
    expect(reports.isLost('a', brokers, 200)).toBe(isLost);
    expect(reports.isLost('b', brokers, 200)).toBe(false);
  });

  it('count for 3 s; the journal is avoided for longer, until it is started anew', () => {
    const reports = new BrokerReports();
    reports.report('a', 'b1', 100);
    expect([reports.isLost('a', ['b1'], 3_000), reports.isAvoided('a', 3_000)]).toEqual([
      true,
      true,
    ]);
    expect([reports.isLost('a', ['b1'], 4_000), reports.isAvoided('a', 4_000)]).toEqual([
      false,
      true,
    ]);
    expect(reports.isAvoided('a', 33_000)).toBe(false);
    reports.report('a', 'b1', 40_000);
    reports.isLost('a', ['b1'], 40_000);
    reports.forget('a');
    expect(reports.isAvoided('a', 40_000)).toBe(false);
  });
});
