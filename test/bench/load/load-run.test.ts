import { describe, expect, it } from 'vitest';

import { type Copies, startFaultyBroker } from './faulty-broker.fixture.ts';
import { type LoadRun, runLoad } from './load-run.ts';

const shape = { publishers: 1, subscribers: 2, topics: 1, qos: 0, payloadBytes: 128 } as const;

async function load(copies: Copies): Promise<LoadRun> {
  await using broker = await startFaultyBroker(copies);
  return await runLoad(broker, {
    ...shape,
    window: 8,
    host: broker.host,
    port: broker.port,
    runId: 3,
    topicPrefix: 'bench/test',
    warmUpSeconds: 0.1,
    measuredSeconds: 0.2,
    threads: 2,
  });
}

describe('a load run', () => {
  it('counts what it sent, over two threads', async () => {
    const run = await load(() => 1);
    expect(run.deliveries.expected).toBe(run.sent * 2);
    expect(run.deliveries.delivered).toBe(run.sent * 2);
    expect(run.deliveredPerSecond).toBeGreaterThan(0);
    expect(run.latencyUs.p99).toBeGreaterThanOrEqual(run.latencyUs.p50);
  });

  it('does not count when a message is lost', async () => {
    await expect(load((number) => (number === 20 ? 0 : 1))).rejects.toThrow(
      /0 duplicates, 2 skipped, 0 foreign/,
    );
  });

  it('does not count when a message comes twice', async () => {
    await expect(load((number) => (number === 20 ? 2 : 1))).rejects.toThrow(
      /2 duplicates, 0 skipped, 0 foreign/,
    );
  });
});
