import { type Clock, type CancelTimer, seededRandom } from '@robustmq/core';
import {
  type BatchListener,
  type ClientLimits,
  createJournalClient,
  type JournalClient,
  type PendingBatch,
  type RecordToAppend,
} from '@robustmq/journal-client';
import { PlacementClient } from '@robustmq/placement-client';
import { FrameCursor, noHeaders, recordsOf } from '@robustmq/record-batch';
import { inProcessTransport, type Transport } from '@robustmq/rpc';
import { FakeJournalTier, type FakeJournalTierOptions } from './fake-journal-tier.ts';
import type { FakeShard } from './fake-shard.ts';

const speed = 20;

/** The machine's clock, twenty times as fast: back-off and patience cost little. */
export function fastClock(): Clock {
  return {
    wallMs: () => Date.now(),
    monotonicMs: () => performance.now() * speed,
    setTimer(delayMs, fire): CancelTimer {
      const timer = setTimeout(fire, delayMs / speed);
      return () => clearTimeout(timer);
    },
  };
}

export interface JournalFixture extends AsyncDisposable {
  readonly fake: FakeJournalTier;
  readonly client: JournalClient;
  readonly placement: PlacementClient;
  readonly transport: Transport;
}

/** A client of a fake journal tier, with its catalog ready. */
export async function startJournalFixture(
  options: Partial<FakeJournalTierOptions> = {},
  limits: Partial<ClientLimits> = {},
): Promise<JournalFixture> {
  const transport = inProcessTransport({ graceMs: 1 });
  const clock = fastClock();
  const random = seededRandom(11);
  const fake = await FakeJournalTier.start({ transport, clock, ...options });
  const placement = new PlacementClient({
    placement: [fake.placementAddress],
    transport,
    clock,
    random,
    nodeId: 'broker-1',
  });
  placement.start();
  await placement.catalog.ready();
  const { catalog } = placement;
  const client = createJournalClient({ transport, catalog, placement, clock, random, limits });
  return {
    fake,
    client,
    placement,
    transport,
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]();
      await placement[Symbol.asyncDispose]();
      await fake[Symbol.asyncDispose]();
    },
  };
}

const noTokens = new Uint32Array(0);

/** A record without key and headers. */
export function recordOf(value: string): RecordToAppend {
  return {
    timestampMs: 1_700_000_000_000,
    key: null,
    value: Buffer.from(value),
    headers: noHeaders,
    filterTokens: noTokens,
  };
}

/** Resolves when the batch is acknowledged or has failed. */
export function settled(batch: PendingBatch | undefined): Promise<PendingBatch> {
  return new Promise((resolve, reject) => {
    if (batch === undefined) {
      reject(new Error('the appender was full'));
      return;
    }
    const listener: BatchListener = { batchSettled: resolve };
    if (batch.state === 'acknowledged' || batch.state === 'failed') resolve(batch);
    else batch.addListener(listener);
  });
}

/** The values of all records of concatenated frames, in order. */
export function valuesOf(frames: Buffer): string[] {
  const cursor = new FrameCursor();
  const values: string[] = [];
  cursor.reset(frames);
  while (cursor.next() === 'frame') {
    if (cursor.kind !== 'batch') continue;
    const batch = frames.subarray(cursor.payloadStart, cursor.end);
    for (const { value } of recordsOf(batch)) values.push(value?.toString() ?? '');
  }
  return values;
}

/** What is in the log of a shard. */
export function valuesIn(shard: FakeShard): string[] {
  return shard.frames.flatMap(({ bytes }) => valuesOf(bytes));
}
