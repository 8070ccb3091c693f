import { stringify } from 'yaml';

import { type AccessRule, operations } from '../rules/access-rule.ts';
import type { User } from './user.ts';

/** The lines of an access file for users and rules that came from elsewhere. */
export function accessFileText(data: {
  readonly users: readonly User[];
  readonly rules: readonly AccessRule[];
}): string {
  const content = {
    ...(data.users.length > 0 && { users: data.users.map(userEntry) }),
    ...(data.rules.length > 0 && { rules: data.rules.map(ruleEntry) }),
  };
  return stringify(content, { lineWidth: 0 });
}

function userEntry({ name, credentials, groups, superuser }: User): object {
  const { password, scramSha256, scramSha512, origin } = credentials;
  return {
    name,
    ...(password !== undefined && { password }),
    ...(scramSha256 !== undefined && { 'scram-sha-256': scramSha256 }),
    ...(scramSha512 !== undefined && { 'scram-sha-512': scramSha512 }),
    ...(origin !== undefined && { origin }),
    ...(groups.length > 0 && { groups }),
    ...(superuser && { superuser }),
  };
}

function ruleEntry(rule: AccessRule): object {
  const { users, clientIds, groups, addresses, anonymous } = rule.who;
  const who = {
    ...(users !== undefined && { user: shortest(users) }),
    ...(clientIds !== undefined && { 'client-id': shortest(clientIds) }),
    ...(groups !== undefined && { group: shortest(groups) }),
    ...(addresses !== undefined && { address: shortest(addresses) }),
    ...(anonymous !== undefined && { anonymous }),
  };
  const isAll = operations.every((operation) => rule.operations.includes(operation));
  return {
    [rule.effect]: isAll ? 'all' : shortest(rule.operations),
    ...(Object.keys(who).length > 0 && { who }),
    ...resourceEntries(rule),
    ...(rule.qos !== undefined && { qos: shortest(rule.qos) }),
    ...(rule.retain !== undefined && { retain: rule.retain }),
  };
}

function resourceEntries({ resources }: AccessRule): Readonly<Record<string, unknown>> {
  const entries: Record<string, string[]> = {};
  for (const one of resources) {
    if (one.kind === 'cluster') continue;
    const text =
      one.kind === 'mqtt'
        ? `${one.exact ? 'eq ' : ''}${one.filter}`
        : `${one.name}${one.prefixed ? '*' : ''}`;
    (entries[one.kind] ??= []).push(text);
  }
  const isCluster = resources.some(({ kind }) => kind === 'cluster');
  const named = Object.entries(entries).map(([kind, texts]) => [kind, shortest(texts)] as const);
  return { ...Object.fromEntries(named), ...(isCluster && { cluster: true }) };
}

/** One stands alone. */
function shortest<Value>(values: readonly Value[]): Value | readonly Value[] {
  const [first] = values;
  return values.length === 1 && first !== undefined ? first : values;
}
