import { limits, OperatingError, unreachable } from '@robustmq/core';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

interface NumberSetting {
  readonly type: 'number';
  readonly default: number;
  readonly min: number;
  readonly max: number;
}

interface ChoiceSetting {
  readonly type: 'choice';
  readonly default: string;
  readonly allowed: readonly string[];
}

interface TextSetting {
  readonly type: 'text';
  readonly default: string;
  /** What is wrong with a value; undefined when nothing is. */
  readonly problem: (value: string) => string | undefined;
}

type Setting = NumberSetting | ChoiceSetting | TextSetting;

const number = (value: number, min: number, max = Number.MAX_SAFE_INTEGER): NumberSetting => ({
  type: 'number',
  default: value,
  min,
  max,
});

/** Every setting that a topic can have, by Kafka's names where Kafka has one. -1: without bound. */
export const topicSettings = {
  'cleanup.policy': {
    type: 'choice',
    default: 'delete',
    allowed: ['delete', 'compact', 'compact,delete'],
  },
  'delete.retention.ms': number(DAY_MS, 0),
  'max.message.bytes': number(limits.messageBytesMax, 1, limits.batchBytesMax),
  'message.timestamp.type': {
    type: 'choice',
    default: 'CreateTime',
    allowed: ['CreateTime', 'LogAppendTime'],
  },
  /** Fewest journals with which a segment is opened, and that have to sync what is acknowledged. */
  'min.insync.replicas': number(1, 1, 7),
  /** Levels of MQTT names that this topic owns: the topic's prefix. Empty: none. */
  'mqtt.prefix': { type: 'text', default: '', problem: prefixProblem },
  /** Whether a compacted topic takes MQTT publishes without retain. */
  'mqtt.compacted.accept-unretained': {
    type: 'choice',
    default: 'false',
    allowed: ['true', 'false'],
  },
  'replication.factor': number(3, 1, 7),
  'retention.bytes': number(-1, -1),
  /** Bytes of sealed segments per partition up to which trimming waits for sessions. */
  'retention.hold.bytes': number(4 * GIB, 0),
  'retention.ms': number(7 * DAY_MS, -1),
  'segment.bytes': number(256 * MIB, 64 * 1024),
  'segment.ms': number(7 * DAY_MS, 1_000),
} as const satisfies Record<string, Setting>;

export type TopicSettingName = keyof typeof topicSettings;

/** Settings of a topic, with the defaults filled in. */
export interface TopicConfig {
  readonly replicationFactor: number;
  readonly minInsyncReplicas: number;
  readonly segmentBytes: number;
  readonly segmentMs: number;
  /** Undefined: for ever. */
  readonly retentionMs: number | undefined;
  /** Undefined: without bound. */
  readonly retentionBytes: number | undefined;
  readonly retentionHoldBytes: number;
  /** Whether old records are deleted at all. */
  readonly deletes: boolean;
  /** Empty: the topic owns no MQTT names. */
  readonly mqttPrefix: string;
}

/** What was read before: rows of the store are never changed in place, and passes look at each shard. */
const known = new WeakMap<object, TopicConfig>();

/** The settings in `config`, which must not be changed afterwards. */
export function readTopicConfig(config: Readonly<Record<string, string>>): TopicConfig {
  const before = known.get(config);
  if (before !== undefined) return before;
  const read = readAll(config);
  known.set(config, read);
  return read;
}

function readAll(config: Readonly<Record<string, string>>): TopicConfig {
  const bounded = (name: TopicSettingName): number | undefined => {
    const value = numberOf(config, name);
    return value === -1 ? undefined : value;
  };
  return {
    replicationFactor: numberOf(config, 'replication.factor'),
    minInsyncReplicas: numberOf(config, 'min.insync.replicas'),
    segmentBytes: numberOf(config, 'segment.bytes'),
    segmentMs: numberOf(config, 'segment.ms'),
    retentionMs: bounded('retention.ms'),
    retentionBytes: bounded('retention.bytes'),
    retentionHoldBytes: numberOf(config, 'retention.hold.bytes'),
    deletes: textOf(config, 'cleanup.policy').includes('delete'),
    mqttPrefix: textOf(config, 'mqtt.prefix'),
  };
}

/**
 * Throws INVALID_ARGUMENT for an unknown name, with the list of known ones, for a bad value, and for
 * values that contradict each other. Takes all that a topic is to have, not only what changes.
 */
export function checkTopicConfig(config: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(config)) {
    const problem = problemOf(checkSettingName(name), value);
    if (problem === undefined) continue;
    const message = `setting ${name}: ${problem}, got ${JSON.stringify(value)}`;
    throw new OperatingError('INVALID_ARGUMENT', message);
  }
  const { replicationFactor, minInsyncReplicas } = readTopicConfig(config);
  if (minInsyncReplicas <= replicationFactor) return;
  const message = `setting min.insync.replicas: at most replication.factor (${replicationFactor}), got ${minInsyncReplicas}: nothing could ever be written`;
  throw new OperatingError('INVALID_ARGUMENT', message);
}

/** Throws INVALID_ARGUMENT unless a setting of that name exists. */
export function checkSettingName(name: string): TopicSettingName {
  if (Object.hasOwn(topicSettings, name)) return name as TopicSettingName;
  const known = Object.keys(topicSettings).join(', ');
  throw new OperatingError('INVALID_ARGUMENT', `unknown setting ${name}; known are: ${known}`);
}

function problemOf(name: TopicSettingName, value: string): string | undefined {
  const setting: Setting = topicSettings[name];
  switch (setting.type) {
    case 'choice':
      return setting.allowed.includes(value) ? undefined : `one of ${setting.allowed.join(' | ')}`;
    case 'text':
      return setting.problem(value);
    case 'number': {
      const parsed = /^-?\d{1,16}$/.test(value) ? Number(value) : Number.NaN;
      const inRange = parsed >= setting.min && parsed <= setting.max;
      return inRange ? undefined : `a whole number from ${setting.min} to ${setting.max}`;
    }
    default:
      return unreachable(setting);
  }
}

/** MQTT levels: no wildcards, no NUL, does not begin with `$`, begins and ends with a level. */
function prefixProblem(value: string): string | undefined {
  if (value === '') return undefined;
  if (Buffer.byteLength(value) > 1_024) return 'at most 1024 bytes';
  if (!value.isWellFormed() || /[+#\0]/.test(value)) return 'MQTT levels without +, # and NUL';
  if (value.startsWith('$')) return 'not one that begins with $';
  if (value.endsWith('/')) return 'whole levels without a / at the end';
  return undefined;
}

function textOf(config: Readonly<Record<string, string>>, name: TopicSettingName): string {
  return config[name] ?? String(topicSettings[name].default);
}

function numberOf(config: Readonly<Record<string, string>>, name: TopicSettingName): number {
  return Number(textOf(config, name));
}
