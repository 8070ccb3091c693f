import type { SeedResult } from './simulation.ts';

/** A seed counts when enough has happened in it. */
const atLeast = { steps: 2_000, acknowledged: 20, failovers: 1 };

/** What many seeds came to. */
export class Totals {
  seeds = 0;
  counted = 0;
  steps = 0;
  acknowledged = 0;
  failovers = 0;
  stuck = 0;
  beyond = 0;
  tookMs = 0;
  readonly failed: number[] = [];
  readonly faults = new Map<string, number>();

  add(result: SeedResult): void {
    const { steps, acknowledged, failovers, violations, isBeyond } = result;
    this.seeds++;
    this.steps += steps;
    this.acknowledged += acknowledged;
    this.failovers += failovers;
    const isEnough =
      steps >= atLeast.steps &&
      acknowledged >= atLeast.acknowledged &&
      failovers >= atLeast.failovers;
    if (isBeyond) this.beyond++;
    else if (isEnough) this.counted++;
    if (violations.length > 0) this.failed.push(result.seed);
    if (violations.some((violation) => violation.startsWith('STUCK'))) this.stuck++;
    for (const [kind, count] of Object.entries(result.faults)) {
      this.faults.set(kind, (this.faults.get(kind) ?? 0) + count);
    }
  }

  text(): string {
    const faults = [...this.faults].sort(([a], [b]) => (a < b ? -1 : 1));
    const { steps, acknowledged, failovers } = atLeast;
    return [
      `${this.seeds} seeds in ${(this.tookMs / 1000).toFixed(0)} s, ${this.counted} of them with at least ${steps} steps, ${acknowledged} acknowledged records and ${failovers} failover`,
      `${this.steps} steps, ${this.acknowledged} records acknowledged, ${this.failovers} failovers`,
      `faults: ${faults.map(([kind, count]) => `${count} ${kind}`).join(', ')}`,
      `${this.beyond} seeds do not count: disks that lie had every copy of some segment, or a chain was forked`,
      `${this.failed.length - this.stuck} seeds with violations, ${this.stuck} stuck${this.failed.length > 0 ? `: ${this.failed.slice(0, 20).join(' ')}` : ''}`,
    ].join('\n');
  }
}
