import { TopicNames } from '@robustmq/kernel';
import { RecordBatchWriter, RecordCursor } from '@robustmq/record-batch';
import { describe, expect, it } from 'vitest';

import { SubscriptionTrie } from '../codec/subscription-trie.ts';
import type { LiveSession } from './live-session.ts';
import { LiveSubscription } from './live-subscription.ts';
import { TopicMeters } from '../slow/topic-meters.ts';
import { type LiveTrie, MatchTable, type NameMatch, targetOf } from './match-table.ts';

/** The trie only compares sessions. */
const session = (name: string): LiveSession => ({ name }) as unknown as LiveSession;

function subscription(filter: string): LiveSubscription {
  const stored = {
    filter,
    qos: 1,
    noLocal: false,
    retainAsPublished: false,
    retainHandling: 0,
    subscriptionId: 0,
    startOffsets: [],
  } as const;
  return new LiveSubscription(stored, []);
}

function cursorOf(key: string | Buffer | null): RecordCursor {
  const writer = new RecordBatchWriter();
  writer.append(1, key === null ? null : Buffer.from(key), Buffer.from('v'));
  const cursor = new RecordCursor();
  cursor.reset(writer.finish());
  cursor.next();
  return cursor;
}

function tableOf(topic: string, size = 100): { trie: LiveTrie; table: MatchTable } {
  const trie: LiveTrie = new SubscriptionTrie();
  const names = TopicNames.of([
    { name: 'mqtt', shardIds: [1, 2], config: {} },
    { name: 'factory.line1', shardIds: [3], config: { 'mqtt.prefix': 'factory/line1' } },
  ]);
  return { trie, table: new MatchTable(topic, { trie, names, size, meters: new TopicMeters([]) }) };
}

describe('MatchTable', () => {
  it('gathers the subscriptions of a session, and follows their changes', () => {
    const { trie, table } = tableOf('mqtt');
    const [a, b] = [session('a'), session('b')];
    const [wide, exact] = [subscription('x/#'), subscription('x/y')];
    expect(table.of(cursorOf('x/y')).targets).toEqual([]);
    trie.insert('x/#', a, wide);
    trie.insert('x/y', a, exact);
    trie.insert('+/y', b, exact);
    const match = table.of(cursorOf('x/y'));
    expect(match.targets).toHaveLength(2);
    const own = match.targets.find((target) => target.session === a);
    expect(new Set([own?.first, ...(own?.more ?? [])])).toEqual(new Set([wide, exact]));
    trie.remove('x/#', a);
    const later = table.of(cursorOf('x/y')).targets.find((target) => target.session === a);
    expect(later).toMatchObject({ first: exact, more: undefined });
  });

  it('finds one session among many without a walk over the others', () => {
    const { trie, table } = tableOf('mqtt');
    const sessions = Array.from({ length: 1000 }, (_, index) => session(`${index}`));
    for (const each of sessions) trie.insert('x/+', each, subscription('x/+'));
    const match = table.of(cursorOf('x/y'));
    let reads = 0;
    const targets = new Proxy(match.targets, {
      get: (target, name, receiver): unknown => {
        reads++;
        return Reflect.get(target, name, receiver);
      },
    });
    const counted: NameMatch = Object.assign(match, { targets });
    for (const each of sessions) expect(targetOf(counted, each)?.session).toBe(each);
    // One walk for all of them, and a look at how many there are for each.
    expect(reads).toBeLessThan(5 * sessions.length);
    expect(targetOf(counted, session('other'))).toBeUndefined();
    const [first] = sessions;
    if (first !== undefined) trie.remove('x/+', first);
    expect(first && targetOf(table.of(cursorOf('x/y')), first)).toBeUndefined();
  });

  it('spells names as their topic does, and leaves out what MQTT cannot spell', () => {
    const { trie, table } = tableOf('factory.line1');
    trie.insert('#', session('a'), subscription('#'));
    expect(table.of(cursorOf('temp')).name).toBe('factory/line1/temp');
    expect(table.of(cursorOf(null)).name).toBe('factory/line1');
    for (const key of ['a+b', 'a#', Buffer.of(0xff), 'a\0b']) {
      expect(table.of(cursorOf(key))).toMatchObject({ name: undefined, targets: [] });
    }
    expect(table.of(cursorOf('$x')).dollar).toBe(true);
  });

  it('tells keys with the same text in another encoding apart, and remembers a bounded number', () => {
    const { trie, table } = tableOf('mqtt', 2);
    trie.insert('#', session('a'), subscription('#'));
    const names = ['ä', 'b', 'c', 'x'.repeat(2000), 'ä'];
    for (const name of names) expect(table.of(cursorOf(name)).name).toBe(name);
    expect(table.of(cursorOf('b'))).toBe(table.of(cursorOf('b')));
  });
});
