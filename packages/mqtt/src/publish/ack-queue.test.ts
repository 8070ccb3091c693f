import { offset, OperatingError, shardId } from '@robustmq/core';
import type { BatchListener, PendingBatch } from '@robustmq/journal-client';
import { describe, expect, it } from 'vitest';

import { ReasonCode } from '../codec/reason-code.ts';
import { AckQueue } from './ack-queue.ts';

class FakeBatch implements PendingBatch {
  readonly shardId = shardId(1);
  readonly baseOffset = offset(0);
  readonly appendTimeMs = 0;
  readonly recordCount = 1;
  state: PendingBatch['state'] = 'gathering';
  error: OperatingError | undefined;
  readonly listeners: BatchListener[] = [];

  addListener(listener: BatchListener): void {
    this.listeners.push(listener);
  }

  settle(error?: OperatingError): void {
    this.state = error === undefined ? 'acknowledged' : 'failed';
    this.error = error;
    for (const listener of this.listeners) listener.batchSettled(this);
  }
}

function queueOf(): { queue: AckQueue; answers: string[] } {
  const answers: string[] = [];
  const queue = new AckQueue({
    acknowledge: (owed, packetId, error) => answers.push(`${owed} ${packetId} ${error?.code}`),
    refuse: (owed, packetId, { reasonCode }) => answers.push(`${owed} ${packetId} ${reasonCode}`),
  });
  return { queue, answers };
}

describe('AckQueue', () => {
  it('[MQTT5-4.6.0-2] answers from its head, whatever is done first', () => {
    const { queue, answers } = queueOf();
    const [slow, fast] = [new FakeBatch(), new FakeBatch()];
    queue.push(slow, 'puback', 1);
    queue.push(fast, 'pubrec', 65_535);
    queue.push(fast, 'puback', 3);
    queue.push(slow, 'puback', 4);
    fast.settle();
    expect(answers).toEqual([]);
    expect(queue.length).toBe(4);
    slow.settle(new OperatingError('DISK_FULL', 'full'));
    expect(answers).toEqual([
      'puback 1 DISK_FULL',
      'pubrec 65535 undefined',
      'puback 3 undefined',
      'puback 4 DISK_FULL',
    ]);
    expect(queue.length).toBe(0);
  });

  it('listens once to a batch that several of its publishes share', () => {
    const { queue } = queueOf();
    const batch = new FakeBatch();
    for (let id = 1; id <= 5; id++) queue.push(batch, 'puback', id);
    expect(batch.listeners).toHaveLength(1);
    batch.settle();
    expect(queue.length).toBe(0);
  });

  it('keeps a refusal in its place, and gives it at once when nothing is before it', () => {
    const { queue, answers } = queueOf();
    queue.pushRefusal({ reasonCode: ReasonCode.quotaExceeded, reason: undefined }, 'puback', 1);
    expect(answers).toEqual(['puback 1 151']);
    const batch = new FakeBatch();
    queue.push(batch, 'puback', 2);
    queue.pushRefusal({ reasonCode: ReasonCode.topicNameInvalid, reason: undefined }, 'pubrec', 3);
    expect(answers).toHaveLength(1);
    batch.settle();
    expect(answers).toEqual(['puback 1 151', 'puback 2 undefined', 'pubrec 3 144']);
  });

  it('does not grow while it is never empty', () => {
    const { queue, answers } = queueOf();
    let last = new FakeBatch();
    queue.push(last, 'puback', 1);
    for (let id = 2; id <= 5_000; id++) {
      const next = new FakeBatch();
      queue.push(next, 'puback', id);
      last.settle();
      last = next;
      expect(queue.length).toBe(1);
    }
    expect(answers).toHaveLength(4_999);
  });
});
