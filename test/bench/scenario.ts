import type { LoadShape } from './load/load-plan.ts';

/** Figures that targets are about; absent where nothing was measured. */
export interface TargetFigures {
  /** Ours by Mosquitto's. */
  readonly ratio?: number;
  readonly p50Ms?: number;
  readonly p99Ms?: number;
  readonly kibibytesEach?: number;
  /** From SIGKILL to the last probe that was acknowledged. */
  readonly allWritableMs?: number;
  /** Segments that a second restart added. */
  readonly segmentsAdded?: number;
  /** Longest write outage of a shard, 99th percentile, by what it has lost. */
  readonly leaderKilledP99Ms?: number;
  readonly followerKilledP99Ms?: number;
  readonly leaderStoppedP99Ms?: number;
}

/** What has to be reached. */
export interface Target {
  readonly text: string;
  readonly atLeast?: TargetFigures;
  readonly atMost?: TargetFigures;
}

interface ScenarioBase {
  readonly name: string;
  /** For people, in a few words. */
  readonly title: string;
  readonly target?: Target;
  /** It takes minutes: it runs only when it is named. */
  readonly isLong?: true;
}

/** Messages as fast as the window lets them; ours against Mosquitto. */
export interface LoadScenario extends ScenarioBase {
  readonly kind: 'load';
  readonly shape: LoadShape;
}

/** Memory of connections that do next to nothing. */
export interface IdleScenario extends ScenarioBase {
  readonly kind: 'idle';
}

/** A journal that is killed; ours only. */
export interface RestartScenario extends ScenarioBase {
  readonly kind: 'restart';
}

/** A broker that is killed; ours only. */
export interface FailoverScenario extends ScenarioBase {
  readonly kind: 'failover';
}

/** Journals that are killed and stopped under writers; ours only. */
export interface OutageScenario extends ScenarioBase {
  readonly kind: 'outage';
}

/** A journal that leads thousands of shards with replicas is killed; ours only. */
export interface ManyShardsScenario extends ScenarioBase {
  readonly kind: 'many-shards';
  readonly journals: number;
}

export type Scenario =
  | LoadScenario
  | IdleScenario
  | RestartScenario
  | FailoverScenario
  | OutageScenario
  | ManyShardsScenario;

const pairs = { publishers: 4, subscribers: 4, topics: 4, payloadBytes: 128 } as const;

export const scenarios: readonly Scenario[] = [
  {
    kind: 'load',
    name: 'qos1-p2p',
    title: 'QoS 1, 4 publishers → 4 subscribers on 4 topics, 128 B, window 50',
    shape: { ...pairs, qos: 1, window: 50 },
    target: atLeast(2),
  },
  {
    kind: 'load',
    name: 'qos0-p2p',
    title: 'QoS 0, 4 publishers → 4 subscribers on 4 topics, 128 B, window 200',
    shape: { ...pairs, qos: 0, window: 200 },
    target: atLeast(2.2),
  },
  {
    kind: 'load',
    name: 'fanout',
    title: 'fan-out, 1 publisher → 100 subscribers, QoS 0, 128 B, window 100',
    shape: { publishers: 1, subscribers: 100, topics: 1, qos: 0, payloadBytes: 128, window: 100 },
    target: atLeast(2.5),
  },
  {
    kind: 'load',
    name: 'qos1-one',
    title: 'QoS 1, one message at a time, 128 B',
    shape: { publishers: 1, subscribers: 1, topics: 1, qos: 1, payloadBytes: 128, window: 1 },
    target: { text: 'p50 ≤ 2 ms, p99 ≤ 15 ms', atMost: { p50Ms: 2, p99Ms: 15 } },
  },
  {
    kind: 'load',
    name: 'qos2-p2p',
    title: 'QoS 2, 4 publishers → 4 subscribers on 4 topics, 128 B, window 50',
    shape: { ...pairs, qos: 2, window: 50 },
  },
  {
    kind: 'idle',
    name: 'idle',
    title: '10,000 idle MQTT 5 connections, one exact subscription each, 5 % pinging',
    target: { text: '≤ 12 KiB each in the broker', atMost: { kibibytesEach: 12 } },
  },
  {
    kind: 'restart',
    name: 'restart',
    title:
      'SIGKILL and restart of a journal with 5,000 shards, until a probe append to each is acknowledged',
    target: {
      text: '≤ 5 s; a second restart adds no segment to an idle shard',
      atMost: { allWritableMs: 5_000, segmentsAdded: 0 },
    },
  },
  {
    kind: 'failover',
    name: 'failover',
    title: 'SIGKILL of one of two brokers, until its 50 sessions are served by the other',
    target: { text: 'p99 ≤ 2 s', atMost: { p99Ms: 2_000 } },
  },
  {
    kind: 'outage',
    name: 'outage',
    isLong: true,
    title: 'SIGKILL and SIGSTOP of one of three journals: the longest write outage of each shard',
    target: {
      text: 'p99: leader killed ≤ 1 s, follower killed < 200 ms, leader stopped ≤ 4 s',
      atMost: { leaderKilledP99Ms: 1_000, followerKilledP99Ms: 200, leaderStoppedP99Ms: 4_000 },
    },
  },
  manyShards(3),
  manyShards(4),
];

function manyShards(journals: number): ManyShardsScenario {
  return {
    kind: 'many-shards',
    name: `many-shards-${journals}`,
    isLong: true,
    title: `SIGKILL of one of ${journals} journals that leads 5,000 shards with 3 replicas, until a probe append to each is acknowledged`,
    target: { text: '≤ 5 s', atMost: { allWritableMs: 5_000 } },
    journals,
  };
}

function atLeast(times: number): Target {
  return { text: `≥ ${times} ×`, atLeast: { ratio: times } };
}

/** Whether a target is reached; undefined when something that it is about was not measured. */
export function isReached(target: Target, figures: TargetFigures): boolean | undefined {
  const measured = (name: string): number | undefined => figures[name as keyof TargetFigures];
  const least = Object.entries(target.atLeast ?? {});
  const most = Object.entries(target.atMost ?? {});
  if ([...least, ...most].some(([name]) => measured(name) === undefined)) return undefined;
  return (
    least.every(([name, bound]) => (measured(name) ?? NaN) >= bound) &&
    most.every(([name, bound]) => (measured(name) ?? NaN) <= bound)
  );
}
