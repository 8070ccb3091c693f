import { readFileSync } from 'node:fs';

import { OperatingError } from '@robustmq/core';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';

type Flags = Readonly<Record<string, unknown>>;

/** How long a connection may take. */
const connectTimeoutMs = 10_000;

/** Connects over MQTT 5. Rejects with what the broker or the network says. */
export async function connectClient(flags: Flags): Promise<MqttClient> {
  const url = text(flags, 'url') ?? '';
  try {
    return await connectAsync(url, clientOptions(flags), false);
  } catch (thrown) {
    throw new OperatingError('UNAVAILABLE', `${url}: ${reasonOf(thrown)}`);
  }
}

function clientOptions(flags: Flags): IClientOptions {
  const user = text(flags, 'user');
  const password = text(flags, 'passwordFile');
  const files = (['ca', 'cert', 'key'] as const).flatMap((name) => {
    const path = text(flags, name);
    return path === undefined ? [] : [[name, readFileSync(path)] as const];
  });
  return {
    protocolVersion: 5,
    clean: true,
    reconnectPeriod: 0,
    connectTimeout: connectTimeoutMs,
    clientId: text(flags, 'clientId') ?? '',
    ...(user !== undefined && { username: user }),
    ...(password !== undefined && { password: firstLine(password) }),
    ...Object.fromEntries(files),
  };
}

/** 0, 1 or 2. */
export function qosOf(flags: Flags): 0 | 1 | 2 {
  const qos = Number(flags['qos']);
  if (qos === 0 || qos === 1 || qos === 2) return qos;
  throw new OperatingError('INVALID_ARGUMENT', `--qos ${String(flags['qos'])}: must be 0, 1 or 2`);
}

/** A whole number above 0; undefined when the flag is not given. */
export function countOf(flags: Flags): number | undefined {
  if (flags['count'] === undefined) return undefined;
  const given = String(text(flags, 'count'));
  const count = Number(given);
  if (Number.isSafeInteger(count) && count > 0) return count;
  const message = `--count ${given}: must be a whole number above 0`;
  throw new OperatingError('INVALID_ARGUMENT', message);
}

/** What went wrong, in one line. */
export function reasonOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  // Node joins what it has tried for several addresses, with no message of its own.
  if (thrown instanceof AggregateError) return reasonOf(thrown.errors[0]);
  const code = 'code' in thrown && typeof thrown.code === 'number' ? hex(thrown.code) : '';
  return `${thrown.message}${code}`;
}

function hex(code: number): string {
  return ` (0x${code.toString(16).padStart(2, '0')})`;
}

function text(flags: Flags, name: string): string | undefined {
  const value = flags[name];
  return typeof value === 'string' ? value : undefined;
}

function firstLine(path: string): string {
  return readFileSync(path, 'utf8').split(/\r?\n/)[0] ?? '';
}
