import { isIP } from 'node:net';

import { OperatingError, hostOf } from '@robustmq/core';

import type { Options } from './options.ts';
import { required } from './required.ts';
import { tlsPaths } from './tls-options.ts';

/**
 * The role's gRPC address, if it may be listened on: the tiers trust each other, so without mutual
 * TLS the listener stays on loopback unless the operator insists (docs/design.md, section 11).
 */
export function allowedListen(options: Options): string {
  const listen = required(options, 'listen');
  if (isLoopback(hostOf(listen)) || tlsPaths(options) || options['insecure-cluster']) return listen;
  throw new OperatingError(
    'NOT_AUTHORIZED',
    `--listen ${listen} is open to the network, where anyone could write to the log; give ` +
      '--cluster-tls-dir with certificates ("robustmq cluster certs" makes them), or ' +
      '--insecure-cluster if this network is yours alone, or listen on loopback',
  );
}

export function isLoopback(host: string): boolean {
  if (host === 'localhost' || host === '::1') return true;
  return isIP(host) === 4 && host.startsWith('127.');
}
