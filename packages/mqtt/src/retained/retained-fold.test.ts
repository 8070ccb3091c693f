import { offset, shardId } from '@robustmq/core';
import { encodeReservedHeader } from '@robustmq/kernel';
import { MqttRetained } from '@robustmq/rpc';
import { MemoryLogs } from '@robustmq/testkit';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FilterScan } from './filter-scan.ts';
import type { RetainedEntry } from './retained-entry.ts';
import { retainedEntriesOf, type RetainedBudget, RetainedFold } from './retained-fold.ts';
import { RetainedPartition } from './retained-partition.ts';
import { silentLogger } from '@robustmq/core';
import { appendRecords, TestFanOut, type TestRecord } from './test-fan-out.ts';
import { matchesOf } from './test-matches.ts';

const shard = shardId(3);
const retain = { name: 'mqtt.retain', value: encodeReservedHeader('mqtt.retain', 1) };
const user = { name: 'user', value: Buffer.from('property') };

function expiry(ms: number): { name: string; value: Buffer } {
  return { name: 'message-expiry', value: encodeReservedHeader('message-expiry', ms) };
}

function newBudget(bytesMax: number): RetainedBudget & { readonly refusedTopics: string[] } {
  const refusedTopics: string[] = [];
  const refused = (topic: string): void => void refusedTopics.push(topic);
  return { bytes: 0, messages: 0, bytesMax, refused, refusedTopics };
}

function newFold(budget?: RetainedBudget, position = 0): RetainedFold {
  return new RetainedFold(shard, offset(position), budget ?? newBudget(1_000_000));
}

/** Folds batches from the fold's position on. */
function foldAll(logs: MemoryLogs, fold: RetainedFold): void {
  const fanOut = new TestFanOut(logs);
  const nameOf = (key: Buffer | null): string | null => key && key.toString();
  const partition = new RetainedPartition(fold, { fanOut, nameOf, logger: silentLogger() });
  partition.attach();
  fanOut.pump();
}

function valuesOf(fold: RetainedFold, filter = '#', nowMs = 0): Record<string, string> {
  const found: Record<string, string> = {};
  for (const { topic, encoded, offset: at } of matchesOf(fold, filter, nowMs)) {
    found[topic] = `${MqttRetained.decode(encoded).value.toString()}@${at}`;
  }
  return found;
}

describe('a fold of retained messages', () => {
  it('keeps value, offset, time and headers of the last one [MQTT5-3.3.1-5]', () => {
    const logs = new MemoryLogs();
    appendRecords(logs.log(shard), [{ key: 'x', value: 'not retained' }]);
    const headers = [user, user, retain];
    appendRecords(logs.log(shard), [{ key: 'a/b', value: 'v', headers }], 5000);
    const fold = newFold();
    foldAll(logs, fold);
    const found = matchesOf(fold, 'a/+', 0).map(({ encoded }) => MqttRetained.decode(encoded));
    expect(found).toEqual([
      {
        topic: 'a/b',
        shardId: 3,
        offset: 1,
        appendTimeMs: 5000,
        expiresAtMs: undefined,
        value: Buffer.from('v'),
        headers: headers.map(({ name, value }) => ({ name: Buffer.from(name), value })),
      },
    ]);
    expect(fold.position).toBe(2);
  });

  it('is cleared by an empty retained publish, and by nothing else [MQTT5-3.3.1-6, -8]', () => {
    const logs = new MemoryLogs();
    const log = logs.log(shard);
    const names = ['null', 'empty', 'plain', 'tombstone'];
    appendRecords(
      log,
      names.map((key) => ({ key, value: 'v', headers: [retain] })),
    );
    appendRecords(log, [
      { key: 'null', value: null, headers: [retain] },
      { key: 'empty', value: '', headers: [retain] },
      { key: 'plain', value: 'other' },
      { key: 'tombstone', value: null },
    ]);
    const fold = newFold();
    foldAll(logs, fold);
    expect(valuesOf(fold)).toEqual({ plain: 'v@2', tombstone: 'v@3' });
  });

  it('forgets what has expired, never early', () => {
    const logs = new MemoryLogs();
    const budget = newBudget(1_000_000);
    appendRecords(logs.log(shard), [{ key: 'a', value: 'v', headers: [expiry(1000), retain] }], 50);
    const fold = newFold(budget);
    foldAll(logs, fold);
    expect(valuesOf(fold, 'a', 1049)).toEqual({ a: 'v@0' });
    expect(valuesOf(fold, 'a', 1050)).toEqual({});
    expect(fold.get('a', 1049)).toBeDefined();
    expect(fold.get('a', 1050)).toBeUndefined();
    for (const sweep = fold.sweep(1049); sweep.next().done !== true;);
    expect(budget.messages).toBe(1);
    for (const sweep = fold.sweep(1050); sweep.next().done !== true;);
    expect(budget).toMatchObject({ messages: 0, bytes: 0 });
  });

  it('keeps no more than its budget, and never an old value for a new one', () => {
    const logs = new MemoryLogs();
    const budget = newBudget(2000);
    const put = (key: string, bytes: number): void =>
      appendRecords(logs.log(shard), [{ key, value: 'x'.repeat(bytes), headers: [retain] }]);
    put('a', 100);
    put('b', 5000);
    put('a', 5000);
    put('c', 100);
    const fold = newFold(budget);
    foldAll(logs, fold);
    expect(Object.keys(valuesOf(fold))).toEqual(['c']);
    expect(budget.refusedTopics).toEqual(['b', 'a']);
  });

  it('gives its share of the budget back, and takes no more of it', () => {
    const logs = new MemoryLogs();
    const budget = newBudget(1_000_000);
    const headers = [expiry(1000), retain];
    appendRecords(logs.log(shard), [{ key: 'a', value: 'v', headers }], 50);
    const fold = newFold(budget);
    foldAll(logs, fold);
    const sweep = fold.sweep(9999);
    fold.forget();
    while (sweep.next().done !== true);
    expect(budget).toMatchObject({ messages: 0, bytes: 0 });
  });

  it('is searched in pieces, each going on where the last has ended', () => {
    const logs = new MemoryLogs();
    const names = Array.from({ length: 50 }, (_, index) => `n/${index}/x`);
    appendRecords(
      logs.log(shard),
      names.map((key) => ({ key, value: 'v', headers: [retain] })),
    );
    const fold = newFold();
    foldAll(logs, fold);
    const found: string[] = [];
    const scan = new FilterScan('n/+/x');
    let pieces = 0;
    for (let from: string | undefined = ''; from !== undefined; pieces++) {
      const take = ({ topic }: RetainedEntry): boolean => found.push(topic) > 0;
      from = fold.search({ scan, nowMs: 0, looks: 7, take }, from);
    }
    expect(found.toSorted()).toEqual(names.toSorted());
    expect(pieces).toBeGreaterThan(50 / 7);
  });

  it('is the same as a map, and as a snapshot with the records behind it', () => {
    const record = fc.record({
      key: fc.constantFrom('a', 'a/b', '$s/x', 'c//d', ''),
      value: fc.constantFrom(null, '', 'v', 'w'),
      isRetained: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.array(fc.array(record, { minLength: 1, maxLength: 4 }), { maxLength: 20 }),
        fc.nat(20),
        fc.nat(5),
        (batches, cut, changesMeanwhile) => {
          const logs = new MemoryLogs();
          const log = logs.log(shard);
          const append = (batch: (typeof batches)[number]): void =>
            appendRecords(
              log,
              batch.map(({ key, value, isRetained }): TestRecord => ({
                key,
                value,
                headers: isRetained ? [retain] : [],
              })),
            );
          for (const batch of batches.slice(0, cut)) append(batch);
          const first = newFold();
          foldAll(logs, first);
          const position = first.position;
          const snapshot = first.snapshot();
          for (const batch of batches.slice(cut, cut + changesMeanwhile)) append(batch);
          foldAll(logs, first);
          const restored = newFold(undefined, position);
          for (let step = snapshot.next(); step.done !== true; step = snapshot.next()) {
            for (const entry of retainedEntriesOf(step.value)) restored.restore(entry);
          }
          for (const batch of batches.slice(cut + changesMeanwhile)) append(batch);
          foldAll(logs, restored);
          foldAll(logs, first);
          const model = new Map<string, string>();
          for (const [at, { key, value, isRetained }] of batches.flat().entries()) {
            if (!isRetained) continue;
            if (value === null || value === '') model.delete(key);
            else model.set(key, `${value}@${at}`);
          }
          const expected = Object.fromEntries(model);
          expect({ ...valuesOf(first), ...valuesOf(first, '$s/#') }).toEqual(expected);
          expect({ ...valuesOf(restored), ...valuesOf(restored, '$s/#') }).toEqual(expected);
        },
      ),
      { numRuns: 200 },
    );
  });
});
