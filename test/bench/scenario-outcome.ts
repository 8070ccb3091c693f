import type { TargetFigures } from './scenario.ts';
import type { SystemName } from './systems/broker-system.ts';

/** A row of the table: what a scenario gave, in words, and the figures behind them. */
export interface ScenarioOutcome {
  readonly ours: string;
  readonly mosquitto: string;
  readonly ratio: string;
  /** p50 / p99. */
  readonly latencies: string;
  readonly memory: string;
  readonly cpu: string;
  readonly figures: TargetFigures;
  /** Everything measured, for the JSON file. */
  readonly details: unknown;
}

/** What the runners of scenarios are given. */
export interface ScenarioTools {
  /** A folder on disk that belongs to the scenario. */
  readonly dataDir: string;
  /** Systems to measure. */
  readonly systems: readonly SystemName[];
  progress(text: string): void;
}

export function inMebibytes(bytes: number): string {
  return `${(bytes / 1024 ** 2).toFixed(0)} MiB`;
}

export function inMs(milliseconds: number): string {
  return `${milliseconds.toFixed(milliseconds < 10 ? 2 : 0)} ms`;
}

export function inThousands(value: number): string {
  return Math.round(value).toLocaleString('en');
}
