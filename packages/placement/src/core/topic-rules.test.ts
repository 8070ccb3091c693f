import { describe, expect, it } from 'vitest';
import {
  checkSettingName,
  checkTopicConfig,
  readTopicConfig,
  topicSettings,
} from './topic-config.ts';
import { checkTopicName, internalTopicOf, isInternal } from './topic-name.ts';

describe('topic names', () => {
  it.each(['a', 'factory.line1', 'A_b-9', 'x'.repeat(249), '...'])('takes %s', (name) => {
    expect(() => checkTopicName(name)).not.toThrow();
  });

  it.each(['', '.', '..', 'a/b', 'a b', 'ä', '$mqtt-session', 'x'.repeat(250), 'a\n', 'a#'])(
    'refuses %j',
    (name) => {
      expect(() => checkTopicName(name)).toThrow(
        expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
      );
    },
  );

  it('has internal names that no client can spell', () => {
    expect(internalTopicOf('mqtt-session')).toBe('$mqtt-session');
    expect(isInternal('$mqtt-session')).toBe(true);
    expect(isInternal('mqtt')).toBe(false);
    for (const kind of ['', 'A', 'a/b', 'x'.repeat(249)]) {
      expect(() => internalTopicOf(kind)).toThrow(/coordinator kind/);
    }
  });
});

describe('topic settings', () => {
  it('has defaults', () => {
    expect(readTopicConfig({})).toEqual({
      replicationFactor: 3,
      minInsyncReplicas: 1,
      segmentBytes: 268_435_456,
      segmentMs: 604_800_000,
      retentionMs: 604_800_000,
      retentionBytes: undefined,
      retentionHoldBytes: 4_294_967_296,
      deletes: true,
      mqttPrefix: '',
    });
  });

  it('reads what is set', () => {
    const config = { 'retention.ms': '-1', 'retention.bytes': '5', 'cleanup.policy': 'compact' };
    expect(readTopicConfig(config)).toMatchObject({
      retentionMs: undefined,
      retentionBytes: 5,
      deletes: false,
    });
  });

  it('has defaults that it would take itself', () => {
    const defaults = Object.entries(topicSettings).map(([name, { default: value }]) => [
      name,
      String(value),
    ]);
    expect(() => checkTopicConfig(Object.fromEntries(defaults))).not.toThrow();
  });

  it('refuses an unknown name with the list of known ones', () => {
    expect(() => checkTopicConfig({ 'retention.hours': '1' })).toThrow(
      /unknown setting retention.hours; known are: .*retention\.ms/,
    );
    expect(() => checkSettingName('toString')).toThrow(/unknown setting/);
  });

  it.each([
    ['retention.ms', '-2'],
    ['retention.ms', '1.5'],
    ['retention.ms', ''],
    ['retention.ms', '99999999999999999'],
    ['segment.bytes', '1'],
    ['replication.factor', '0'],
    ['max.message.bytes', '99999999'],
    ['cleanup.policy', 'forget'],
    ['mqtt.prefix', 'a/#'],
    ['mqtt.prefix', '$SYS'],
    ['mqtt.prefix', 'a/'],
    ['mqtt.prefix', `a\0`],
    ['mqtt.prefix', 'x'.repeat(1_025)],
  ])('refuses %s = %j', (name, value) => {
    expect(() => checkTopicConfig({ [name]: value })).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', message: expect.stringContaining(name) }),
    );
  });

  it.each(['factory/line1', '/leading', 'a//b', 'ä'])('takes mqtt.prefix %s', (prefix) => {
    expect(() => checkTopicConfig({ 'mqtt.prefix': prefix })).not.toThrow();
  });
});
