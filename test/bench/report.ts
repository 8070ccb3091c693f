import { isReached, type Scenario } from './scenario.ts';
import type { ScenarioOutcome } from './scenario-outcome.ts';

/** A scenario with what came of it: an outcome, or why it does not count. */
export interface ReportedScenario {
  readonly scenario: Scenario;
  readonly outcome?: ScenarioOutcome;
  readonly failure?: string;
}

const head = [
  'scenario',
  'ours',
  'Mosquitto',
  'ratio',
  'latency p50 / p99 (ours · Mosquitto)',
  'resident memory (ours · Mosquitto)',
  'CPU server + generator (ours · Mosquitto)',
  'at least',
  'reached',
];

/** The one table, in Markdown. */
export function renderTable(reported: readonly ReportedScenario[]): string {
  const rows = reported.map(({ scenario, outcome, failure }) => {
    const target = scenario.target?.text ?? '-';
    if (outcome === undefined) {
      const reason = (failure ?? '').split('\n', 1)[0] ?? '';
      return [scenario.title, `FAILED: ${reason}`, '-', '-', '-', '-', '-', target, 'no'];
    }
    const { ours, mosquitto, ratio, latencies, memory, cpu } = outcome;
    return [
      scenario.title,
      ours,
      mosquitto,
      ratio,
      latencies,
      memory,
      cpu,
      target,
      verdict(scenario, outcome),
    ];
  });
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  const rule = `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}

/** Whether the target is reached; `?` where what it is about was not measured. */
function verdict(scenario: Scenario, outcome: ScenarioOutcome): string {
  if (scenario.target === undefined) return '-';
  const reached = isReached(scenario.target, outcome.figures);
  if (reached === undefined) return '?';
  return reached ? 'yes' : 'no';
}
