import { OperatingError } from '@robustmq/core';
import {
  describeIdentity,
  type Node,
  NodeRole,
  type PeerIdentity,
  type TierRole,
} from '@robustmq/rpc';

const certifiedAs: Readonly<Record<NodeRole, TierRole | undefined>> = {
  [NodeRole.UNSPECIFIED]: undefined,
  [NodeRole.BROKER]: 'broker',
  [NodeRole.JOURNAL]: 'journal',
};

/**
 * With TLS a node is what its certificate says: a broker that registered as a journal would be given
 * replicas. Throws NOT_AUTHORIZED.
 */
export function checkCallerIsNode(caller: PeerIdentity | undefined, node: Node | undefined): void {
  if (caller === undefined || node === undefined) return;
  const role = certifiedAs[node.role];
  if (role !== undefined && caller.roles.includes(role)) return;
  const who = describeIdentity(caller);
  throw new OperatingError(
    'NOT_AUTHORIZED',
    `${who} may not register as ${role ?? 'node'} ${node.nodeId}`,
  );
}

/** With TLS an order carries who gave it, besides whom it names. */
export function signedBy<Order extends { readonly orderedBy: string }>(
  caller: PeerIdentity | undefined,
  order: Order,
): Order {
  if (caller === undefined) return order;
  return { ...order, orderedBy: `${order.orderedBy} (${describeIdentity(caller)})` };
}
