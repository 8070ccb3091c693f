import type { FileAccessControl } from '@robustmq/auth';
import type { MetricFamily } from '@robustmq/mqtt';

/** What access control counts. */
export function accessFamilies(file: FileAccessControl): MetricFamily[] {
  const { control } = file;
  const evicted = (): number => {
    const { login, flapping } = control.guards;
    return login.evicted + (flapping?.evicted ?? 0);
  };
  return [
    {
      name: 'robustmq_access_logins_total',
      help: 'Logins of clients, by how they ended.',
      kind: 'counter',
      read: () =>
        Object.entries(control.counters).map(([result, value]) => ({ labels: { result }, value })),
    },
    {
      name: 'robustmq_access_locks_total',
      help: 'Locks that guards have set since their settings were changed.',
      kind: 'counter',
      read: () => [
        { labels: { guard: 'login' }, value: control.guards.login.locked },
        { labels: { guard: 'flapping' }, value: control.guards.flapping?.locked ?? 0 },
      ],
    },
    {
      name: 'robustmq_access_guard_entries_evicted_total',
      help: 'Entries of guards that had to go early because a table was full.',
      kind: 'counter',
      read: () => [{ labels: {}, value: evicted() }],
    },
    {
      name: 'robustmq_access_file_stale',
      help: '1 while the access file, or one that it names, is wrong and an earlier one is in force.',
      kind: 'gauge',
      read: () => [{ labels: {}, value: file.isStale ? 1 : 0 }],
    },
  ];
}
