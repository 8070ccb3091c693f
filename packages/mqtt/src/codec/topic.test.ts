import { describe, expect, it } from 'vitest';
import {
  explainTopicProblem,
  filtersOverlap,
  parseSharedFilter,
  topicFilterProblem,
  topicMatches,
  topicNameProblem,
  TopicProblem,
} from './topic.ts';

const name = (text: string): TopicProblem => {
  const bytes = Buffer.from(`x${text}y`);
  return topicNameProblem(bytes, 1, bytes.length - 1);
};
const filter = (text: string): TopicProblem => {
  const bytes = Buffer.from(`x${text}/y`);
  return topicFilterProblem(bytes, 1, bytes.length - 2);
};

describe('topic names', () => {
  it.each(['a', '/', '//', 'a/b', ' ', 'ä/😀', '$SYS/x', 'a b', '/finance'])(
    '%j is one',
    (text) => {
      expect(name(text)).toBe(TopicProblem.none);
    },
  );

  it.each<[text: string, problem: TopicProblem, rule: string]>([
    ['', TopicProblem.empty, '[MQTT5-4.7.3-1]'],
    ['a\0b', TopicProblem.nul, '[MQTT5-4.7.3-2]'],
    ['ä\0', TopicProblem.nul, '[MQTT5-4.7.3-2]'],
    ['a/+', TopicProblem.wildcard, '[MQTT5-4.7.0-1]'],
    ['a#', TopicProblem.wildcard, '[MQTT5-4.7.0-1]'],
    ['ä+', TopicProblem.wildcard, '[MQTT5-4.7.0-1]'],
    ['a'.repeat(65_536), TopicProblem.tooLong, '[MQTT5-4.7.3-3]'],
    ['/'.repeat(128), TopicProblem.levels, 'the limit of this server'],
  ])('%.20j is none: problem %i %s', (text, problem) => {
    expect(name(text)).toBe(problem);
    expect(explainTopicProblem(problem)).not.toBe('');
  });

  it('may have as many levels as allowed, and the longest length', () => {
    expect(name('/'.repeat(127))).toBe(TopicProblem.none);
    expect(name('a'.repeat(65_535))).toBe(TopicProblem.none);
    const bytes = Buffer.from('a/b/c');
    expect(topicNameProblem(bytes, 0, 5, 3)).toBe(TopicProblem.none);
    expect(topicNameProblem(bytes, 0, 5, 2)).toBe(TopicProblem.levels);
  });
});

describe('topic filters', () => {
  it.each(['a', '#', '+', '+/+', '/+', 'a/#', '+/a/#', '/', '$SYS/#', '$share', '$share/g/#'])(
    '%j is one',
    (text) => {
      expect(filter(text)).toBe(TopicProblem.none);
    },
  );

  it.each<[text: string, problem: TopicProblem, rule: string]>([
    ['', TopicProblem.empty, '[MQTT5-4.7.3-1]'],
    ['a\0', TopicProblem.text, '[MQTT5-4.7.3-2]'],
    ['a/#/b', TopicProblem.wildcard, '[MQTT5-4.7.1-1]'],
    ['a#', TopicProblem.wildcard, '[MQTT5-4.7.1-1]'],
    ['#/', TopicProblem.wildcard, '[MQTT5-4.7.1-1]'],
    ['##', TopicProblem.wildcard, '[MQTT5-4.7.1-1]'],
    ['a+', TopicProblem.singleLevel, '[MQTT5-4.7.1-2]'],
    ['+a/b', TopicProblem.singleLevel, '[MQTT5-4.7.1-2]'],
    ['a/++', TopicProblem.singleLevel, '[MQTT5-4.7.1-2]'],
    ['$share/', TopicProblem.shareGroup, '[MQTT5-4.8.2-1]'],
    ['$share//a', TopicProblem.shareGroup, '[MQTT5-4.8.2-1]'],
    ['$share/+/a', TopicProblem.shareGroup, '[MQTT5-4.8.2-1]'],
    ['$share/g#/a', TopicProblem.shareGroup, '[MQTT5-4.8.2-1]'],
    ['$share/g', TopicProblem.shareFilter, '[MQTT5-4.8.2-2]'],
    ['$share/g/', TopicProblem.shareFilter, '[MQTT5-4.8.2-2]'],
    ['$share/g/a#', TopicProblem.wildcard, '[MQTT5-4.7.1-1]'],
    ['+/'.repeat(128), TopicProblem.levels, 'the limit of this server'],
  ])('%.20j is none: problem %i %s', (text, problem) => {
    expect(filter(text)).toBe(problem);
  });

  it('are taken apart when shared [MQTT5-4.8.2-1]', () => {
    expect(parseSharedFilter('$share/g/a/+')).toEqual({ group: 'g', filter: 'a/+' });
    expect(parseSharedFilter('$share/g//')).toEqual({ group: 'g', filter: '/' });
    expect(parseSharedFilter('$shared/g/a')).toBeUndefined();
    expect(parseSharedFilter('a/$share/g')).toBeUndefined();
  });
});

describe('topicMatches', () => {
  it.each([
    ['sport/tennis/player1/#', 'sport/tennis/player1', true],
    ['sport/tennis/player1/#', 'sport/tennis/player1/score/wimbledon', true],
    ['sport/#', 'sport', true],
    ['sport/#', 'sports', false],
    ['#', 'a', true],
    ['#', '/', true],
    ['sport/tennis/+', 'sport/tennis/player1', true],
    ['sport/tennis/+', 'sport/tennis/player1/ranking', false],
    ['sport/+', 'sport', false],
    ['sport/+', 'sport/', true],
    ['+/+', '/finance', true],
    ['/+', '/finance', true],
    ['+', '/finance', false],
    ['+/#', 'a', true],
    ['#', '$SYS/x', false],
    ['+/monitor/Clients', '$SYS/monitor/Clients', false],
    ['$SYS/#', '$SYS/', true],
    ['$SYS/#', '$SYS', true],
    ['$SYS/monitor/+', '$SYS/monitor/Clients', true],
    ['+/$x', 'a/$x', true],
    ['ACCOUNTS', 'Accounts', false],
    ['a/', 'a', false],
  ])(
    '%s and %s: %s [MQTT5-4.7.1-1, -4.7.1-2, -4.7.2-1, -4.7.3-4, MQTT-4.7.1-2, -4.7.1-3, -4.7.2-1, -4.7.3-4]',
    (pattern, topic, matches) => {
      expect(topicMatches(pattern, topic)).toBe(matches);
    },
  );
});

describe('filtersOverlap', () => {
  it.each([
    ['a/#', '+/b', true],
    ['a/#', 'a', true],
    ['a/+/c', '+/b/c', true],
    ['a/+', 'a/b/c', false],
    ['a/b', 'a/c', false],
    ['#', '$SYS/a', false],
    ['+/a', '$SYS/a', false],
    ['$SYS/#', '$SYS/+/b', true],
    ['a', '$share/g/+', true],
  ])('%s and %s: %s', (one, other, wanted) => {
    expect(filtersOverlap(one, other)).toBe(wanted);
    expect(filtersOverlap(other, one)).toBe(wanted);
  });
});
