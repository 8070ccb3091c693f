import { OperatingError } from '@robustmq/core';

/** What a certificate can entitle its holder to be. */
export const tierRoles = ['placement', 'journal', 'broker', 'operator'] as const;
export type TierRole = (typeof tierRoles)[number];

/** Who a certificate says that its holder is. */
export interface PeerIdentity {
  readonly cluster: string;
  readonly name: string;
  readonly roles: readonly TierRole[];
}

/** Of clusters and of certificate holders. */
export const identityNamePattern = /^[a-z0-9-]{1,64}$/;
const uriPattern = /^URI:robustmq:\/\/([a-z0-9-]{1,64})\/([a-z]+)\/([a-z0-9-]{1,64})$/;

/** The URI among a certificate's alternative names that gives its holder a role. */
export function identityUri({ cluster, name }: PeerIdentity, role: TierRole): string {
  return `robustmq://${cluster}/${role}/${name}`;
}

/**
 * The identity in a certificate's alternative names, as Node prints them. Throws NOT_AUTHORIZED when they
 * give no role, or more than one cluster or name.
 */
export function identityOf(subjectAltName: string | undefined): PeerIdentity {
  const names = subjectAltName ?? '';
  // Node quotes a name with a comma or a quote in it. None of ours has one, and a quoted one could
  // look like two when it is taken apart.
  if (names.includes('"')) throw noIdentity(names);
  const found = names.split(', ').flatMap((entry) => uriPattern.exec(entry) ?? []);
  const [, cluster, , name] = found;
  if (cluster === undefined || name === undefined) throw noIdentity(names);
  const roles: TierRole[] = [];
  for (let at = 0; at < found.length; at += 4) {
    const role = tierRoles.find((known) => known === found[at + 2]);
    if (role === undefined || found[at + 1] !== cluster || found[at + 3] !== name) {
      throw noIdentity(names);
    }
    roles.push(role);
  }
  return { cluster, name, roles };
}

/** As it stands in messages and logs: `journal journal-1 of cluster robustmq`. */
export function describeIdentity({ cluster, name, roles }: PeerIdentity): string {
  return `${roles.join('+')} ${name} of cluster ${cluster}`;
}

function noIdentity(names: string): OperatingError {
  return new OperatingError(
    'NOT_AUTHORIZED',
    `the certificate for "${names}" gives no role: it needs one name and a URI ` +
      `robustmq://CLUSTER/ROLE/NAME for each of its roles (${tierRoles.join(', ')}); ` +
      'make one with "robustmq cluster certs"',
  );
}
