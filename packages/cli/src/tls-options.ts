import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { OperatingError } from '@robustmq/core';
import { checkTlsFiles, ClusterTls, type TierRole, type TlsFiles } from '@robustmq/rpc';

import { tlsFiles } from './certificates/certificate-folder.ts';
import type { Options } from './options.ts';

/** Where the files are that a process shows its peers and believes them by. */
export interface TlsPaths {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Undefined without any. Throws INVALID_ARGUMENT when one is missing. */
export function tlsPaths(options: Options): TlsPaths | undefined {
  const dir = options['cluster-tls-dir'];
  const pathOf = (kind: 'ca' | 'cert' | 'key'): string | undefined =>
    options[`cluster-tls-${kind}`] ?? (dir === undefined ? undefined : join(dir, tlsFiles[kind]));
  const [ca, cert, key] = [pathOf('ca'), pathOf('cert'), pathOf('key')];
  if (ca !== undefined && cert !== undefined && key !== undefined) return { ca, cert, key };
  if (ca === undefined && cert === undefined && key === undefined) return undefined;
  throw new OperatingError(
    'INVALID_ARGUMENT',
    'TLS needs --cluster-tls-ca, --cluster-tls-cert and --cluster-tls-key, or --cluster-tls-dir for all three',
  );
}

/** Throws INVALID_ARGUMENT when one cannot be read. */
export function readTlsFiles({ ca, cert, key }: TlsPaths): TlsFiles {
  return { authorities: read(ca), certificate: read(cert), privateKey: read(key) };
}

/** The same without waiting in the event loop: a file system that hangs hangs nothing else. */
export async function loadTlsFiles({ ca, cert, key }: TlsPaths): Promise<TlsFiles> {
  const [authorities, certificate, privateKey] = await Promise.all([
    load(ca),
    load(cert),
    load(key),
  ]);
  return { authorities, certificate, privateKey };
}

/** Of a command that runs and ends; undefined when no files are given. */
export function commandTls(options: Options, roles: readonly TierRole[]): ClusterTls | undefined {
  const paths = tlsPaths(options);
  return paths && new ClusterTls(checkTlsFiles(readTlsFiles(paths), Date.now()), roles);
}

function read(name: string): TlsFiles['certificate'] {
  try {
    return { name, content: readFileSync(name, 'utf8') };
  } catch (thrown) {
    throw unreadable(name, thrown);
  }
}

async function load(name: string): Promise<TlsFiles['certificate']> {
  try {
    return { name, content: await readFile(name, 'utf8') };
  } catch (thrown) {
    throw unreadable(name, thrown);
  }
}

function unreadable(name: string, thrown: unknown): OperatingError {
  const reason = thrown instanceof Error ? thrown.message : String(thrown);
  return new OperatingError('INVALID_ARGUMENT', `${name} cannot be read: ${reason}`);
}
