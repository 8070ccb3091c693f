import { readFileSync } from 'node:fs';

import { type Clock, type Logger, OperatingError, type Random } from '@robustmq/core';
import { EtcdStore } from '@robustmq/placement';

import type { Options } from './options.ts';
import { required } from './required.ts';

interface Shared {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** The store that `--store etcd` names; undefined for SQLite. Throws INVALID_ARGUMENT. */
export function etcdStoreOf(options: Options, shared: Shared): EtcdStore | undefined {
  if (options.store !== 'etcd') return undefined;
  const tls = tlsOf(options);
  const user = userOf(options);
  return new EtcdStore({
    ...shared,
    endpoints: required(options, 'etcd-endpoints'),
    prefix: required(options, 'etcd-prefix'),
    ...(tls && { tls }),
    ...(user && { user }),
  });
}

function tlsOf(options: Options): { ca: Buffer; cert?: Buffer; key?: Buffer } | undefined {
  const { 'etcd-ca': ca, 'etcd-cert': cert, 'etcd-key': key } = options;
  if (ca === undefined && cert === undefined && key === undefined) return undefined;
  if (ca === undefined || (cert === undefined) !== (key === undefined)) {
    throw invalid('TLS to etcd needs --etcd-ca, and --etcd-cert and --etcd-key or neither of them');
  }
  if (cert === undefined || key === undefined) return { ca: read(ca) };
  return { ca: read(ca), cert: read(cert), key: read(key) };
}

function userOf(options: Options): { name: string; password: string } | undefined {
  const { 'etcd-user': name, 'etcd-password-file': file } = options;
  if (name === undefined && file === undefined) return undefined;
  if (name === undefined || file === undefined) {
    throw invalid('--etcd-user and --etcd-password-file need each other');
  }
  return { name, password: read(file).toString().trimEnd() };
}

function read(name: string): Buffer {
  try {
    return readFileSync(name);
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    throw invalid(`${name} cannot be read: ${reason}`);
  }
}

function invalid(message: string): OperatingError {
  return new OperatingError('INVALID_ARGUMENT', message);
}
