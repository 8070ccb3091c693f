import { availableParallelism, cpus, release, totalmem } from 'node:os';

/** What the figures were measured on, in one line. */
export function machineLine(): string {
  const gibibytes = Math.round(totalmem() / 1024 ** 3);
  const model = cpus()[0]?.model.trim() ?? 'unknown CPU';
  return `${availableParallelism()} cores (${model}), ${gibibytes} GiB, Linux ${release()}, Node ${process.versions.node}`;
}
