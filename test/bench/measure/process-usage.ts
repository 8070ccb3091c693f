import { readFileSync } from 'node:fs';

/** Clock ticks of /proc/PID/stat in a second: USER_HZ, which is 100 on every Linux that Node runs on. */
const ticksPerSecond = 100;

/** CPU time of a process with all its threads so far, user and system. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name in brackets may hold anything; utime and stime are fields 14 and 15 of the line.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** Resident memory of a process in bytes. */
export function residentBytes(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(match?.[1] ?? 0) * 1024;
}

/** A number for each process, by its role. */
export type PerRole = Readonly<Record<string, number>>;

export function perRole(processes: PerRole, measure: (pid: number) => number): PerRole {
  return Object.fromEntries(
    Object.entries(processes).map(([role, pid]) => [role, measure(pid)] as const),
  );
}

export function difference(later: PerRole, earlier: PerRole): PerRole {
  return Object.fromEntries(
    Object.entries(later).map(([role, value]) => [role, value - (earlier[role] ?? 0)] as const),
  );
}

export function total(values: PerRole): number {
  return Object.values(values).reduce((sum, value) => sum + value, 0);
}
