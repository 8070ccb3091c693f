import { isIP } from 'node:net';

import { OperatingError, hostOf } from '@robustmq/core';

import type { ListenerConfig } from './mqtt/listener-config.ts';
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

/**
 * The same for a role that others have to reach: an address that means every interface of this machine
 * tells them nothing. Throws INVALID_ARGUMENT without `--advertise-host`.
 */
export function reachableListen(options: Options): string {
  const listen = allowedListen(options);
  if (options['advertise-host'] !== undefined || !isEveryAddress(hostOf(listen))) return listen;
  throw new OperatingError(
    'INVALID_ARGUMENT',
    `--listen ${listen} is every address of this machine, and the others would be told to connect to ` +
      'that; give --advertise-host HOST, the name or address under which they reach this process, or ' +
      'listen on that address alone',
  );
}

/**
 * The MQTT listeners, if they may be listened on: who is open to the network says how its clients
 * authenticate, or that they need not.
 */
export function allowedMqttListeners(options: Options): readonly ListenerConfig[] {
  const listeners = required(options, 'mqtt-listen');
  const open = listeners.find((listener) => !isAllowed(listener, options));
  if (open === undefined) return listeners;
  throw new OperatingError(
    'NOT_AUTHORIZED',
    `--mqtt-listen ${open.text} is open to the network, where anyone could publish and subscribe; ` +
      'give --access-file FILE with users and rules, have clients show certificates (mqtts:// with ' +
      'client-ca=FILE and require-client-cert=true), or ' +
      'give it auth=anonymous (all of them: --insecure-mqtt) if everyone may, or listen on loopback',
  );
}

function isAllowed({ listen, files, authentication }: ListenerConfig, options: Options): boolean {
  if (isLoopback(hostOf(listen)) || options['insecure-mqtt'] === true) return true;
  if (options['access-file'] !== undefined) return true;
  return authentication !== undefined || files?.clientCertificateRequired === true;
}

/** Whether a host means every interface of the machine: 0.0.0.0, ::, and other spellings of them. */
export function isEveryAddress(host: string): boolean {
  if (isIP(host) === 4) return host === '0.0.0.0';
  return isIP(host) === 6 && /^[0:]+(?:0\.0\.0\.0)?$/.test(host);
}

export function isLoopback(host: string): boolean {
  if (host === 'localhost' || host === '::1') return true;
  return isIP(host) === 4 && host.startsWith('127.');
}
