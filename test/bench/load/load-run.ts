import {
  cpuSeconds,
  difference,
  type PerRole,
  perRole,
  residentBytes,
} from '../measure/process-usage.ts';
import type { BrokerSystem } from '../systems/broker-system.ts';
import { GeneratorProcess } from './generator-process.ts';
import { type LoadPlan, type LoadResult, lossOf } from './load-plan.ts';
import type { LoadReport } from './load-process.ts';

/** A run with what its processes used during the measured time. */
export interface LoadRun extends LoadResult {
  /** Of each server process, by role. */
  readonly serverCpuSeconds: PerRole;
  readonly generatorCpuSeconds: number;
  /** Of each server process at the end of the measured time. */
  readonly serverResidentBytes: PerRole;
}

/** Loads a system once. Rejects when anything was lost, doubled or left out: such a run does not count. */
export async function runLoad(system: BrokerSystem, plan: LoadPlan): Promise<LoadRun> {
  const module = new URL('load-process.ts', import.meta.url);
  await using generator = new GeneratorProcess<LoadReport>(module, plan);
  const usage = (): { server: PerRole; generator: number } => ({
    server: perRole(system.processes, cpuSeconds),
    generator: cpuSeconds(generator.pid),
  });
  await expectReport(generator, 'measuring');
  const before = usage();
  await expectReport(generator, 'measured');
  const after = usage();
  const serverResidentBytes = perRole(system.processes, residentBytes);
  const result = await generator.next();
  if (typeof result === 'string') throw new Error(`unexpected report ${result}`);
  const loss = lossOf(result.deliveries);
  if (loss !== undefined) throw new Error(`the run does not count: ${loss}`);
  return {
    ...result,
    serverCpuSeconds: difference(after.server, before.server),
    generatorCpuSeconds: after.generator - before.generator,
    serverResidentBytes,
  };
}

async function expectReport(
  generator: GeneratorProcess<LoadReport>,
  expected: 'measuring' | 'measured',
): Promise<void> {
  const report = await generator.next();
  if (report !== expected) throw new Error(`the load generator skipped "${expected}"`);
}
