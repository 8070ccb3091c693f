import { isIP, SocketAddress } from 'node:net';

import { OperatingError } from '@robustmq/core';
import { identityNamePattern, type TierRole, tierRoles } from '@robustmq/rpc';

/** A certificate that is wanted. */
export interface CertificateOrder {
  readonly name: string;
  readonly roles: readonly TierRole[];
  /** Host names and addresses under which it is reached. */
  readonly hosts: readonly string[];
}

/** Tools on the node itself reach it there. */
const localHosts = ['localhost', '127.0.0.1', '::1'];
const hostPattern = /^(?=.{1,253}$)[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9-]+)*$/;

/**
 * Reads `ROLE/NAME` or `ROLE/NAME=HOST,HOST`, for example `journal/journal-1=10.0.0.2`; several roles are
 * joined by `+`. The hosts are the given ones, the name and those of loopback. Throws INVALID_ARGUMENT.
 */
export function parseCertificateOrder(text: string): CertificateOrder {
  const [, roleText = '', name = '', hostText = ''] = /^([^/=]*)\/([^/=]*)=?(.*)$/.exec(text) ?? [];
  const roles = roleText.split('+').map((role) => tierRoles.find((known) => known === role));
  if (!roles.every((role) => role !== undefined)) {
    throw invalid(
      text,
      `must be ROLE/NAME or ROLE/NAME=HOST,HOST; roles are ${tierRoles.join(', ')}`,
    );
  }
  if (!identityNamePattern.test(name))
    throw invalid(text, 'its name must be 1 to 64 of a-z, 0-9, -');
  const hosts = hostText === '' ? [] : hostText.split(',').map((host) => canonical(host.trim()));
  const wrong = hosts.find((host) => isIP(host) === 0 && !hostPattern.test(host));
  if (wrong !== undefined) throw invalid(text, `"${wrong}" is neither a host name nor an address`);
  return {
    name,
    roles: [...new Set(roles)],
    hosts: [...new Set([name, ...localHosts, ...hosts])],
  };
}

/** An IPv6 address has many spellings; a renewal reads it back in another one. */
function canonical(host: string): string {
  return isIP(host) === 6 ? new SocketAddress({ address: host, family: 'ipv6' }).address : host;
}

function invalid(text: string, reason: string): OperatingError {
  return new OperatingError('INVALID_ARGUMENT', `${text}: ${reason}`);
}
