import { shareStrategies } from '@robustmq/broker';
import { OperatingError } from '@robustmq/core';
import { z } from 'zod';

import { mqttOptionTable } from './mqtt/mqtt-options.ts';
import { observationOptionTable } from './mqtt/observation-options.ts';
import { topicRuleOptionTable } from './mqtt/topic-rules.ts';
import {
  bytes,
  count,
  flag,
  hostPort,
  hostPortOrOff,
  hostPorts,
  nodeName,
  type OptionRow,
  type Role,
} from './option-row.ts';

export type { Role } from './option-row.ts';

/** The one table of options: flags, environment names, file keys, help and types derive from it. */
export const optionTable = {
  'data-dir': {
    roles: ['start', 'journal', 'placement', 'rebuild', 'dev'],
    value: 'DIR',
    schema: z.string().min(1),
    default: {
      start: './data',
      journal: './data/journal',
      placement: './data/placement',
      rebuild: './data/placement',
      dev: './data/dev',
    },
    help: 'folder for everything durable; created when missing',
  },
  listen: {
    roles: ['start', 'broker', 'journal', 'placement', 'dev'],
    value: 'HOST:PORT',
    schema: hostPort,
    default: {
      start: '127.0.0.1:7400',
      dev: '127.0.0.1:7400',
      placement: '127.0.0.1:7400',
      journal: '127.0.0.1:7401',
      broker: '127.0.0.1:7402',
    },
    help: "the role's gRPC address (dev: placement's); port 0 takes a free one",
  },
  placement: {
    roles: ['broker', 'journal', 'admin'],
    value: 'HOST:PORT[,...]',
    schema: hostPorts,
    default: '127.0.0.1:7400',
    help: 'where placement listens; all of them when there are several',
  },
  store: {
    roles: ['placement'],
    value: 'STORE',
    schema: z.enum(['sqlite', 'etcd'], 'must be sqlite or etcd'),
    default: 'sqlite',
    help: 'where the catalog is: sqlite (in --data-dir, one placement), or etcd (several placements)',
  },
  'etcd-endpoints': {
    roles: ['placement'],
    value: 'HOST:PORT[,...]',
    schema: hostPorts,
    default: '127.0.0.1:2379',
    help: "the members of an etcd cluster that is placement's alone, with --store etcd",
  },
  'etcd-prefix': {
    roles: ['placement'],
    value: 'TEXT',
    schema: z.string().regex(/^[!-~]{1,100}$/, 'must be 1 to 100 ASCII characters without spaces'),
    default: 'robustmq/',
    help: 'what all keys in etcd begin with; the same for all placements of a cluster',
  },
  'etcd-ca': {
    roles: ['placement'],
    value: 'FILE',
    schema: z.string().min(1),
    help: "certificates that etcd's must come from, in PEM; turns TLS to etcd on",
  },
  'etcd-cert': {
    roles: ['placement'],
    value: 'FILE',
    schema: z.string().min(1),
    help: 'certificate to show to etcd, in PEM; needs --etcd-ca and --etcd-key',
  },
  'etcd-key': {
    roles: ['placement'],
    value: 'FILE',
    schema: z.string().min(1),
    help: 'private key of --etcd-cert, in PEM',
  },
  'etcd-user': {
    roles: ['placement'],
    value: 'NAME',
    schema: z.string().min(1),
    help: 'user of etcd; needs --etcd-password-file',
  },
  'etcd-password-file': {
    roles: ['placement'],
    value: 'FILE',
    schema: z.string().min(1),
    help: 'a file with the password of --etcd-user',
  },
  'down-grace-ms': {
    roles: ['placement'],
    value: 'MS',
    schema: count,
    default: '600000',
    help: 'how long a journal may be away before others take over the replicas that it has',
  },
  ...mqttOptionTable,
  ...observationOptionTable,
  ...topicRuleOptionTable,
  'kafka-listen': {
    roles: ['start', 'broker'],
    value: 'HOST:PORT',
    schema: hostPortOrOff,
    default: 'off',
    help: 'where Kafka clients connect, or "off" (not built yet: only "off" is accepted)',
  },
  'amqp-listen': {
    roles: ['start', 'broker'],
    value: 'HOST:PORT',
    schema: hostPortOrOff,
    default: 'off',
    help: 'where AMQP clients connect, or "off" (not built yet: only "off" is accepted)',
  },
  'http-listen': {
    roles: ['start', 'broker', 'journal', 'placement'],
    value: 'HOST:PORT',
    schema: hostPortOrOff,
    default: {
      start: '127.0.0.1:7480',
      placement: '127.0.0.1:7480',
      journal: '127.0.0.1:7481',
      broker: '127.0.0.1:7482',
    },
    help: 'metrics (/metrics) and health (/health/live, /health/ready), or "off"',
  },
  'advertise-host': {
    roles: ['broker', 'journal', 'placement'],
    value: 'HOST',
    schema: z.string().min(1),
    help: 'host under which the others reach this node (default: the host of --listen)',
  },
  'node-id': {
    roles: ['broker', 'journal'],
    value: 'NAME',
    schema: nodeName,
    help: 'name of the node (default: made at the first start)',
  },
  zone: {
    roles: ['broker', 'journal'],
    value: 'NAME',
    schema: nodeName,
    help: 'availability zone of the node',
  },
  'wal-file-bytes': {
    roles: ['start', 'journal', 'dev'],
    value: 'BYTES',
    schema: bytes,
    default: '64MiB',
    help: 'size of a file of the write-ahead log, at least 1MiB',
  },
  'disk-reserve-bytes': {
    roles: ['start', 'journal', 'dev'],
    value: 'BYTES',
    schema: bytes,
    help: 'refuse appends when less is free (default: the smaller of 2 GiB and 5 % of the disk)',
  },
  'unflushed-bytes-max': {
    roles: ['start', 'journal', 'dev'],
    value: 'BYTES',
    schema: bytes,
    default: '512MiB',
    help: 'most bytes that wait in memory for their segment files',
  },
  'scrub-period-hours': {
    roles: ['start', 'journal', 'dev'],
    value: 'HOURS',
    schema: count,
    default: '168',
    help: 'each sealed replica is read again within so long, to find damage on the disk',
  },
  'scrub-bytes-per-second': {
    roles: ['start', 'journal', 'dev'],
    value: 'BYTES',
    schema: bytes.refine((value) => value > 0, 'must be more than 0'),
    default: '16MiB',
    help: 'most bytes that are read again in a second',
  },
  'shutdown-timeout-ms': {
    roles: ['start', 'broker', 'journal', 'placement'],
    value: 'MS',
    schema: count,
    default: '20000',
    help: 'time to drain after SIGTERM; then the process ends with 1',
  },
  'access-file': {
    roles: ['start', 'broker'],
    value: 'FILE',
    schema: z.string().min(1),
    help: 'users, access rules and bans (YAML or JSON), taken up when it changes; without it everybody may do everything',
  },
  'mqtt3-refused-publish': {
    roles: ['start', 'broker'],
    value: 'WHAT',
    schema: z.enum(['acknowledge', 'close'], 'must be acknowledge or close'),
    default: 'acknowledge',
    help: 'a publish of an MQTT 3 client that the rules do not allow: acknowledge (and drop it), or close the connection',
  },
  'mqtt-shared-strategy': {
    roles: ['start', 'broker', 'dev'],
    value: 'STRATEGY',
    schema: z.enum(shareStrategies, `must be one of ${shareStrategies.join(', ')}`),
    default: 'round-robin',
    help: 'who gets a message of a shared subscription: round-robin, random, sticky, local-first, hash-client or hash-topic',
  },
  'cluster-tls-dir': {
    roles: ['start', 'broker', 'journal', 'placement', 'rebuild', 'admin'],
    value: 'DIR',
    schema: z.string().min(1),
    help: 'mutual TLS between the tiers, with ca.crt, tls.crt and tls.key of this folder ("robustmq cluster certs" makes it)',
  },
  'cluster-tls-ca': {
    roles: ['start', 'broker', 'journal', 'placement', 'rebuild', 'admin'],
    value: 'FILE',
    schema: z.string().min(1),
    help: "the cluster's authorities, in PEM (default: ca.crt in --cluster-tls-dir)",
  },
  'cluster-tls-cert': {
    roles: ['start', 'broker', 'journal', 'placement', 'rebuild', 'admin'],
    value: 'FILE',
    schema: z.string().min(1),
    help: 'certificate of this process, in PEM (default: tls.crt in --cluster-tls-dir)',
  },
  'cluster-tls-key': {
    roles: ['start', 'broker', 'journal', 'placement', 'rebuild', 'admin'],
    value: 'FILE',
    schema: z.string().min(1),
    help: 'its private key, in PEM (default: tls.key in --cluster-tls-dir)',
  },
  'insecure-cluster': {
    roles: ['start', 'broker', 'journal', 'placement'],
    schema: flag,
    help: 'let the gRPC listener leave loopback without mutual TLS',
  },
  'log-level': {
    roles: ['start', 'broker', 'journal', 'placement', 'dev'],
    value: 'LEVEL',
    schema: z.enum(['debug', 'info', 'warn', 'error']),
    default: { start: 'warn', broker: 'info', journal: 'info', placement: 'info', dev: 'info' },
    help: 'debug, info, warn or error; logs go to standard error as JSON lines',
  },
  config: {
    roles: ['start', 'broker', 'journal', 'placement', 'rebuild', 'dev', 'admin'],
    value: 'FILE',
    schema: z.string().min(1),
    help: 'a YAML or JSON file with the same names as the flags, without the dashes in front',
  },
} as const satisfies Record<string, OptionRow>;

export type OptionName = keyof typeof optionTable;

/** The options of a role, checked. What has no default and was not given is undefined. */
export type Options = {
  readonly [Name in OptionName]?: z.output<(typeof optionTable)[Name]['schema']> | undefined;
};

export const optionNames = Object.keys(optionTable) as OptionName[];

/** The environment name of an option: `data-dir` is ROBUSTMQ_DATA_DIR. */
export function environmentName(name: OptionName): string {
  return `ROBUSTMQ_${name.replaceAll('-', '_').toUpperCase()}`;
}

export function optionsOf(role: Role): OptionName[] {
  return optionNames.filter((name) => rowOf(name).roles.includes(role));
}

export function rowOf(name: OptionName): OptionRow {
  return optionTable[name];
}

export function defaultOf(name: OptionName, role: Role): string | undefined {
  const value = rowOf(name).default;
  return typeof value === 'object' ? value[role] : value;
}

/** Where raw values come from; earlier sources win. */
export interface OptionSources {
  readonly flags: Readonly<Record<string, unknown>>;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly file: Readonly<Record<string, unknown>>;
}

/**
 * Takes each option of the role from the flag, else the environment, else the file, else its
 * default, and checks it. Throws INVALID_ARGUMENT that names the source and says what is allowed.
 */
export function resolveOptions(role: Role, sources: OptionSources): Options {
  const names = optionsOf(role);
  for (const key of Object.keys(sources.file)) {
    if (!optionNames.some((name) => name === key)) {
      throw invalid(
        `the configuration file has "${key}", which is no option; known: ${names.join(', ')}`,
      );
    }
  }
  const resolved: Record<string, unknown> = {};
  for (const name of names) {
    const [raw, source] = rawValue(name, role, sources);
    if (raw === undefined) continue;
    const text = typeof raw === 'number' ? String(raw) : raw;
    const parsed = rowOf(name).schema.safeParse(text);
    if (!parsed.success) {
      const reason = parsed.error.issues[0]?.message ?? 'is not valid';
      throw invalid(`${source} ${JSON.stringify(raw)}: ${reason}`);
    }
    resolved[name] = parsed.data;
  }
  return resolved;
}

function rawValue(name: OptionName, role: Role, sources: OptionSources): [unknown, string] {
  if (sources.flags[name] !== undefined) return [sources.flags[name], `--${name}`];
  const variable = environmentName(name);
  if (sources.environment[variable]) return [sources.environment[variable], variable];
  if (sources.file[name] !== undefined) return [sources.file[name], `configuration file: ${name}`];
  return [defaultOf(name, role), `default of ${name}`];
}

function invalid(message: string): OperatingError {
  return new OperatingError('INVALID_ARGUMENT', message);
}
