import { type OperatingError, shardId } from '@robustmq/core';
import { HeaderBlock, RecordBatchWriter, RecordCursor } from '@robustmq/record-batch';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Reply } from '../coordinator/state-machine.ts';
import { ShareBroker } from './share-broker.ts';
import { ShareBudget } from './share-budget.ts';
import { ShareMember } from './share-member.ts';
import { readHandedOut } from './share-message.ts';
import { Delivery, type ShareRecord, takeRecords } from './share-record.ts';
import { ShareWindow } from './share-window.ts';

const shard = shardId(5);

/** A reply that notes what it was answered. */
class Asked implements Reply {
  answer: string[] | undefined;

  ok(payload: Buffer): void {
    const found: string[] = [];
    readHandedOut(payload, ({ number, offset, delivery, appendTimeMs, cursor }) => {
      const { buffer, keyStart, keyEnd, valueStart, valueEnd } = cursor;
      const key = buffer.toString('utf8', keyStart, keyEnd);
      const value = buffer.toString('utf8', valueStart, valueEnd);
      found.push(`${number} ${offset} ${delivery} ${appendTimeMs} ${key}=${value}`);
    });
    this.answer = found;
  }

  fail(error: OperatingError): void {
    throw error;
  }
}

describe('ShareBroker', () => {
  let budget: ShareBudget;
  let window: ShareWindow<ShareRecord>;
  let broker: ShareBroker;
  let member: ShareMember;
  let asked = 0;

  const ask = (number = ++asked): Asked => {
    const reply = new Asked();
    broker.take(number, reply, 0);
    broker.flush();
    return reply;
  };
  const read = (values: readonly string[]): void => {
    const writer = new RecordBatchWriter();
    for (const value of values)
      writer.append(7, Buffer.from('k'), Buffer.from(value), new HeaderBlock());
    const cursor = new RecordCursor();
    cursor.reset(writer.finish());
    const baseOffset = window.readPosition;
    const nextOffset = baseOffset + values.length;
    const batch = { shardId: shard, baseOffset, nextOffset, appendTimeMs: 99, cursor };
    takeRecords(
      { ...batch, producerId: -1, writerEpoch: 0 } as Parameters<typeof takeRecords>[0],
      {
        wants: () => true,
        describe: () => true,
        take: (offset, record) => window.read(offset, record),
      },
      budget,
    );
  };
  const giveAll = (delivery: Delivery): void => {
    window.handOut((entry) => {
      if (delivery === Delivery.atMostOnce) window.settle(entry);
      else window.acquire(entry, member.acquirer, 1000);
      broker.give({ member, entry, delivery });
      return true;
    });
  };

  beforeEach(() => {
    budget = new ShareBudget({ bytesMax: 1e9, bytesMin: 0 });
    window = new ShareWindow(
      { start: 10, settled: [], attempts: new Map(), pins: new Map() },
      { dropped: ({ slab }) => slab.release() },
    );
    broker = new ShareBroker({ nodeId: 'b', incarnation: 1 }, false);
    member = new ShareMember('g', 'm', 1);
    member.connected(broker, 3, 100);
    asked = 0;
  });

  it('answers a take once there is something, with records of several batches', () => {
    const early = ask();
    expect(early.answer).toBeUndefined();
    read(['a', 'b']);
    read(['c']);
    giveAll(Delivery.atLeastOnce);
    broker.flush();
    expect(early.answer).toEqual(['3 10 1 99 k=a', '3 11 1 99 k=b', '3 12 1 99 k=c']);
    expect(ask().answer).toBeUndefined();
  });

  it('gives the same answer to the same number, and nothing to an older one', () => {
    read(['a']);
    giveAll(Delivery.atLeastOnce);
    const first = ask();
    expect(ask(1).answer).toEqual(first.answer);
    const second = ask();
    expect([second.answer, ask(1).answer]).toEqual([undefined, []]);
  });

  it('leaves out what the member has no more when it leaves', () => {
    read(['a', 'b', 'c', 'd']);
    giveAll(Delivery.atLeastOnce);
    window.answer(member.acquirer, 10, 'accepted');
    window.answer(member.acquirer, 11, 'released');
    expect(ask().answer).toEqual(['3 12 1 99 k=c', '3 13 1 99 k=d']);
    read(['e']);
    giveAll(Delivery.atMostOnce);
    member.disconnected();
    const late = ask();
    expect(late.answer).toBeUndefined();
  });

  it('has room for about a MiB of what waits, and answers with as much at a time', () => {
    read(Array.from({ length: 5 }, () => 'x'.repeat(400_000)));
    giveAll(Delivery.atMostOnce);
    expect(broker.hasRoom).toBe(false);
    expect(ask().answer).toHaveLength(2);
    expect(broker.hasRoom).toBe(false);
    expect(ask().answer).toHaveLength(2);
    expect(broker.hasRoom).toBe(true);
    expect(ask().answer).toHaveLength(1);
    expect(budget.bytes).toBe(0);
  });
});
