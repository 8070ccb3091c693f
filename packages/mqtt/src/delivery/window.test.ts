import { offset, shardId } from '@robustmq/core';
import { assert, array, integer, property } from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { WindowEntry } from '../session/session-gateway.ts';
import { SendWindow } from './window.ts';

const shard = shardId(1);

function entry(packetId: number, state: WindowEntry['state'] = 'sent'): WindowEntry {
  return { packetId, shardId: shard, offset: offset(packetId), qos: 2, state };
}

describe('SendWindow', () => {
  it('[MQTT5-2.2.1-4] S3: an id is in it once and free only after it was removed', () => {
    const actions = array(integer({ min: 0, max: 40 }), { maxLength: 300 });
    assert(
      property(actions, integer({ min: 1, max: 20 }), (all, size) => {
        const window = new SendWindow(size, [entry(0xfffd), entry(3)]);
        const inUse = new Set([0xfffd, 3]);
        for (const packetId of inUse) window.sentAgain(packetId);
        for (const action of all) {
          if (action > 15 && !window.full) {
            const packetId = window.add(shard, offset(action), 1);
            expect(inUse.has(packetId)).toBe(false);
            expect(packetId).toBeGreaterThan(0);
            expect(packetId).toBeLessThanOrEqual(0xffff);
            inUse.add(packetId);
          } else {
            const victim = [...inUse][action % Math.max(1, inUse.size)];
            expect(window.remove(victim ?? 0)).toBe(victim !== undefined);
            if (victim !== undefined) inUse.delete(victim);
          }
          expect(window.length).toBe(inUse.size);
          expect(window.full).toBe(inUse.size >= size);
        }
        expect(window.entries().map(({ packetId }) => packetId)).toEqual([...inUse]);
      }),
    );
  });

  it('counts what an earlier connection left only once it is sent again', () => {
    const window = new SendWindow(2, [entry(1), entry(2), entry(3, 'released')]);
    expect(window.length).toBe(0);
    window.sentAgain(1);
    window.sentAgain(1);
    window.sentAgain(2);
    expect(window.full).toBe(true);
    expect(window.roomy).toBe(false);
    window.remove(3);
    expect(window.length).toBe(2);
    window.remove(1);
    expect(window.roomy).toBe(true);
  });

  it('keeps states and gives copies', () => {
    const window = new SendWindow(10, []);
    const packetId = window.add(shard, offset(5), 2);
    const [before] = window.entries();
    window.release(packetId);
    window.release(999);
    expect(before?.state).toBe('sent');
    expect(window.entries()).toEqual([
      { packetId, shardId: shard, offset: 5, qos: 2, state: 'released' },
    ]);
  });
});
