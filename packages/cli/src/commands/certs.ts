import { OperatingError } from '@robustmq/core';
import { identityNamePattern } from '@robustmq/rpc';

import { Authority } from '../certificates/authority.ts';
import { CertificateFolder } from '../certificates/certificate-folder.ts';
import { type CertificateOrder, parseCertificateOrder } from '../certificates/certificate-order.ts';

const dayMs = 86_400_000;
const authorityDays = 3_650;
/** Clocks of nodes may be late. */
const backdatedMs = 3_600_000;

interface CertsInput {
  readonly arguments: readonly string[];
  readonly flags: Readonly<Record<string, unknown>>;
}

/**
 * `robustmq cluster certs ROLE/NAME[=HOST,...]...`: makes the cluster's authority once, and certificates.
 * Nothing is overwritten, except by `--renew`: the named ones, or all that are there.
 */
export async function makeCertificates(input: CertsInput): Promise<void> {
  const folder = new CertificateFolder(String(input.flags['out']));
  const renew = input.flags['renew'] === true;
  const orders = renew
    ? ordersToRenew(folder, input.arguments)
    : newOrders(folder, input.arguments);
  const days = wholeDays(input.flags['days']);
  const { cluster } = input.flags;
  const named = typeof cluster === 'string' ? cluster : undefined;
  const authority = await authorityOf(folder, named, renew);
  const nowMs = Date.now();
  const validity = { fromMs: nowMs - backdatedMs, untilMs: nowMs + days * dayMs };
  for (const order of orders) {
    folder.store(order.name, await authority.issue(order, validity), authority.certificate);
    tell(
      `${renew ? 'renewed' : 'made'} ${folder.holder(order.name)}: ${order.roles.join('+')}, for`,
    );
    tell(` ${order.hosts.join(', ')}\n`);
  }
  const untilMs = Math.min(validity.untilMs, authority.untilMs);
  tell(`\nThey are valid until ${new Date(untilMs).toISOString().slice(0, 10)}. Next:\n`);
  tell(renew ? nextAfterRenewal : nextSteps);
}

function newOrders(folder: CertificateFolder, texts: readonly string[]): CertificateOrder[] {
  if (texts.length === 0) {
    throw invalid('name what to make, for example placement/placement-1=10.0.0.1 operator/me');
  }
  const orders = texts.map(parseCertificateOrder);
  const there = orders.find(({ name }, index) => {
    const again = orders.findIndex((other) => other.name === name) !== index;
    return again || folder.has(name);
  });
  if (there === undefined) return orders;
  throw new OperatingError(
    'ALREADY_EXISTS',
    `${folder.holder(there.name)} has a certificate already, nothing was made; ` +
      '--renew replaces it, another name makes another',
  );
}

/** By name they keep their roles and hosts; as ROLE/NAME=HOST they get new ones. */
function ordersToRenew(folder: CertificateFolder, texts: readonly string[]): CertificateOrder[] {
  const wanted = texts.length === 0 ? folder.holders() : texts;
  if (wanted.length === 0) throw invalid(`${folder.path} has no certificates to renew; see --out`);
  return wanted.map((text) => {
    const order = identityNamePattern.test(text) ? undefined : parseCertificateOrder(text);
    const name = order?.name ?? text;
    if (!folder.has(name)) throw invalid(`${folder.holder(name)} has no certificate to renew`);
    return order ?? folder.orderOf(name);
  });
}

async function authorityOf(
  folder: CertificateFolder,
  cluster: string | undefined,
  renew: boolean,
): Promise<Authority> {
  const there = folder.authority();
  if (there !== undefined) {
    const authority = await Authority.load(there);
    if (cluster !== undefined && cluster !== authority.cluster) {
      throw invalid(`${folder.path} is of cluster ${authority.cluster}; choose another --out`);
    }
    if (authority.untilMs > Date.now()) return authority;
    throw invalid(`the authority in ${folder.path} has expired; make another with another --out`);
  }
  if (renew) throw invalid(`${folder.path} has no authority; it is where "cluster certs" made it`);
  const name = cluster ?? 'robustmq';
  if (!identityNamePattern.test(name)) throw invalid(`--cluster ${name}: 1 to 64 of a-z, 0-9, -`);
  const nowMs = Date.now();
  const validity = { fromMs: nowMs - backdatedMs, untilMs: nowMs + authorityDays * dayMs };
  const made = await Authority.create(name, validity);
  folder.storeAuthority(made);
  tell(`made the authority of cluster ${name}: ca.crt and ca.key in ${folder.path}\n`);
  return Authority.load(made);
}

function wholeDays(given: unknown): number {
  const days = Number(given);
  if (Number.isInteger(days) && days >= 1 && days <= authorityDays) return days;
  throw invalid(`--days ${String(given)}: must be a whole number from 1 to ${authorityDays}`);
}

function invalid(message: string): OperatingError {
  return new OperatingError('INVALID_ARGUMENT', message);
}

function tell(text: string): void {
  process.stdout.write(text);
}

const nextSteps = `  1. Copy each folder to its node, for example to /etc/robustmq/tls, readable by robustmq alone.
  2. Start each role with --cluster-tls-dir /etc/robustmq/tls (ROBUSTMQ_CLUSTER_TLS_DIR).
  3. Give the same flag to "robustmq status" and the other commands, with an operator's folder.
  4. Keep ca.key off the nodes: whoever has it can join the cluster.
`;

const nextAfterRenewal = `  Copy each folder to its node again. The roles take the new files by themselves, without a restart.
`;
