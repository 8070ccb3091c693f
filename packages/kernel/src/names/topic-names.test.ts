import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { partitionOf } from './murmur2.ts';
import { type NamedTopic, TopicNames } from './topic-names.ts';

function topic(name: string, partitions: number, prefix?: string): NamedTopic {
  const shardIds = Array.from({ length: partitions }, (_, i) => i);
  return { name, shardIds, config: prefix === undefined ? {} : { 'mqtt.prefix': prefix } };
}

const key = (text: string): Buffer => Buffer.from(text);

const names = TopicNames.of([
  topic('mqtt', 16),
  topic('$mqtt-session', 16),
  topic('factory.line1', 4, 'factory/line1'),
  topic('factory', 2, 'factory'),
  topic('renamed', 3, 'plant/a.b'),
  topic('commands', 8),
  topic('a', 2),
  topic('a.b', 2),
  topic('x..y', 1),
  topic('lead', 5, '/lead'),
]);

describe('an MQTT topic name is routed', () => {
  const table: readonly [
    mqttTopic: string,
    topic: string,
    key: string | null,
    partitions: number,
  ][] = [
    ['factory/line1/temp', 'factory.line1', 'temp', 4],
    ['factory/line1/oven/3/temp', 'factory.line1', 'oven/3/temp', 4],
    ['factory/line1', 'factory.line1', null, 4],
    ['factory/line1/', 'factory.line1', '', 4],
    ['factory/line1//x', 'factory.line1', '/x', 4],
    ['factory/line10/temp', 'factory', 'line10/temp', 2],
    ['factory', 'factory', null, 2],
    ['factory/', 'factory', '', 2],
    ['factoryline1', 'mqtt', 'factoryline1', 16],
    ['/factory/line1', 'mqtt', '/factory/line1', 16],
    ['plant/a.b/c', 'renamed', 'c', 3],
    ['plant/a/b/c', 'mqtt', 'plant/a/b/c', 16],
    ['renamed/c', 'mqtt', 'renamed/c', 16],
    ['commands/device-17', 'mqtt', 'commands/device-17', 16],
    ['commands', 'mqtt', 'commands', 16],
    ['/lead/x', 'lead', 'x', 5],
    ['/lead', 'lead', null, 5],
    ['lead/x', 'mqtt', 'lead/x', 16],
    ['/', 'mqtt', '/', 16],
    ['//', 'mqtt', '//', 16],
    ['$mqtt-session/x', 'mqtt', '$mqtt-session/x', 16],
    ['mqtt/x', 'mqtt', 'mqtt/x', 16],
  ];

  it.each(table)('%j goes to %s, key %j', (mqttTopic, name, recordKey, partitions) => {
    expect(names.route(mqttTopic)).toEqual({
      topic: name,
      partition: partitionOf(recordKey, partitions),
      key: recordKey,
    });
  });

  it('to 16 partitions of the shared topic before the catalog shows it', () => {
    const empty = TopicNames.of([]);
    expect(empty.route('a/b')).toEqual({
      topic: 'mqtt',
      partition: partitionOf('a/b', 16),
      key: 'a/b',
    });
  });
});

describe('a record has an MQTT name', () => {
  const table: readonly [topic: string, key: string | null, name: string | null][] = [
    ['commands', 'device-17', 'commands/device-17'],
    ['commands', null, 'commands'],
    ['commands', '', 'commands/'],
    ['commands', '/x', 'commands//x'],
    ['a', 'b/c', 'a/b/c'],
    ['a.b', 'c', 'a/b/c'],
    ['x..y', 'z', 'x//y/z'],
    ['renamed', 'c', 'plant/a.b/c'],
    ['factory.line1', null, 'factory/line1'],
    ['not.in.the.table', 'k', 'not/in/the/table/k'],
    ['mqtt', 'any/name', 'any/name'],
    ['mqtt', '/any', '/any'],
    ['mqtt', '', null],
    ['mqtt', null, null],
    ['commands', 'with+plus', null],
    ['commands', 'with#hash', null],
    ['commands', 'with\u0000nul', null],
    ['commands', '$SYS', null],
    ['mqtt', '$SYS/x', null],
    ['$mqtt-session', 'x', null],
    ['$mqtt-session', null, null],
  ];

  it.each(table)('topic %s, key %j: %j', (name, recordKey, mqttName) => {
    expect(names.mqttNameOf(name, recordKey === null ? null : key(recordKey))).toBe(mqttName);
  });

  it('none when the key is not UTF-8, or an encoded surrogate [MQTT5-1.5.4-1]', () => {
    expect(names.mqttNameOf('commands', Buffer.from([0xc3, 0x28]))).toBeNull();
    expect(names.mqttNameOf('commands', Buffer.from([0xed, 0xa0, 0x80]))).toBeNull();
  });

  it('none when it would be longer than 65,535 bytes', () => {
    const room = 65_535 - 'commands/'.length;
    expect(names.mqttNameOf('commands', Buffer.alloc(room, 'x'))).toHaveLength(65_535);
    expect(names.mqttNameOf('commands', Buffer.alloc(room + 1, 'x'))).toBeNull();
    expect(names.mqttNameOf('commands', Buffer.from('é'.repeat(32_764)))).toBeNull();
  });

  it('with a key that begins with $ when it came through MQTT', () => {
    expect(names.mqttNameOf('commands', key('$x'), 'mqtt')).toBe('commands/$x');
    expect(names.mqttNameOf('mqtt', key('$x'), 'mqtt')).toBe('$x');
  });

  it('keeps a byte order mark [MQTT5-1.5.4-3]', () => {
    expect(names.mqttNameOf('commands', key('\ufeffx'))).toBe('commands/\ufeffx');
  });
});

describe('a filter has its sources', () => {
  const all = 'all' as const;
  const sources = (filter: string): string[] =>
    names
      .sources(filter)
      .map(({ topic, partitions }) =>
        partitions === all ? topic : `${topic}:${partitions.join()}`,
      )
      .sort();

  it('an exact one: one partition of the shared topic, all of the others that can hold it', () => {
    const shared = `mqtt:${partitionOf('a/b/c', 16)}`;
    expect(sources('a/b/c')).toEqual(['a', 'a.b', shared]);
  });

  it('tells the key of an exact one', () => {
    const keys = Object.fromEntries(names.sources('a/b').map((s) => [s.topic, s.key]));
    expect(keys).toEqual({ mqtt: 'a/b', a: 'b', 'a.b': null });
    const slash = Object.fromEntries(names.sources('a/').map((s) => [s.topic, s.key]));
    expect(slash).toEqual({ mqtt: 'a/', a: '' });
  });

  const wildcards: readonly [filter: string, topics: readonly string[]][] = [
    ['#', ['a', 'a.b', 'commands', 'factory', 'factory.line1', 'lead', 'mqtt', 'renamed', 'x..y']],
    ['+', ['a', 'commands', 'factory', 'mqtt']],
    ['+/+', ['a', 'a.b', 'commands', 'factory', 'factory.line1', 'lead', 'mqtt', 'renamed']],
    ['a/#', ['a', 'a.b', 'mqtt']],
    ['a/b/#', ['a', 'a.b', 'mqtt']],
    ['a/b/c/d/#', ['a', 'a.b', 'mqtt']],
    ['a/+', ['a', 'a.b', 'mqtt']],
    ['+/lead', ['a', 'commands', 'factory', 'lead', 'mqtt']],
    ['/#', ['lead', 'mqtt']],
    ['x/+/y/#', ['mqtt', 'x..y']],
    ['plant/+/c', ['mqtt', 'renamed']],
    ['plant/a/#', ['mqtt']],
    ['$mqtt-session/#', ['mqtt']],
  ];

  it.each(wildcards)('%s', (filter, topics) => {
    expect(sources(filter)).toEqual(topics);
  });
});

/** The rules of MQTT 5, section 4.7, as plainly as they can be written. */
function matches(filter: readonly string[], name: readonly string[]): boolean {
  if (filter.length === 0) return name.length === 0;
  if (filter[0] === '#') return true;
  if (name.length === 0) return false;
  if (filter[0] !== '+' && filter[0] !== name[0]) return false;
  if (filter.length === 2 && filter[1] === '#' && name.length === 1) return true;
  return matches(filter.slice(1), name.slice(1));
}

describe('routes, names and sources agree', () => {
  const level = fc.constantFrom('', 'a', 'b', 'c', 'a.b', 'factory', 'line1', 'commands');
  const mqttTopic = fc
    .array(level, { minLength: 1, maxLength: 5 })
    .map((levels) => levels.join('/'))
    .filter((name) => name !== '');
  const filterLevel = fc.oneof(level, fc.constant('+'));
  const filter = fc
    .tuple(fc.array(filterLevel, { maxLength: 4 }), fc.boolean())
    .map(([levels, rest]) => [...levels, ...(rest ? ['#'] : [])].join('/'))
    .filter((text) => text !== '');

  it('what is routed gets its name back', () => {
    fc.assert(
      fc.property(mqttTopic, (name) => {
        const { topic, key: recordKey } = names.route(name);
        expect(names.mqttNameOf(topic, recordKey === null ? null : key(recordKey))).toBe(name);
      }),
    );
  });

  it('a name that matches a filter is routed to one of its sources', () => {
    fc.assert(
      fc.property(mqttTopic, filter, (name, wanted) => {
        fc.pre(matches(wanted.split('/'), name.split('/')));
        const { topic, partition } = names.route(name);
        const source = names.sources(wanted).find((s) => s.topic === topic);
        expect(source).toBeDefined();
        if (source?.partitions !== 'all') expect(source?.partitions).toContain(partition);
      }),
    );
  });

  it('a record of any topic whose name matches a filter is in one of its sources', () => {
    const topicName = fc.constantFrom('a', 'a.b', 'commands', 'factory', 'x..y', 'renamed');
    fc.assert(
      fc.property(topicName, fc.option(mqttTopic), filter, (name, recordKey, wanted) => {
        const mqttName = names.mqttNameOf(name, recordKey === null ? null : key(recordKey));
        fc.pre(mqttName !== null && matches(wanted.split('/'), mqttName.split('/')));
        expect(names.sources(wanted)).toContainEqual(
          expect.objectContaining({ topic: name, partitions: 'all' }),
        );
      }),
    );
  });
});
