import { Node, NodeRole, type PeerIdentity } from '@robustmq/rpc';
import { describe, expect, it } from 'vitest';
import { checkCallerIsNode, signedBy } from './caller-check.ts';

const broker: PeerIdentity = { cluster: 'c', name: 'b', roles: ['broker'] };
const both: PeerIdentity = { cluster: 'c', name: 'edge', roles: ['broker', 'journal'] };

function node(role: NodeRole): Node {
  return Node.fromPartial({ nodeId: 'n', role });
}

describe('a node that registers', () => {
  it.each([
    [broker, NodeRole.BROKER],
    [both, NodeRole.BROKER],
    [both, NodeRole.JOURNAL],
    // Without TLS nobody can tell.
    [undefined, NodeRole.JOURNAL],
  ])('%j may as %i', (caller, role) => {
    expect(() => checkCallerIsNode(caller, node(role))).not.toThrow();
  });

  it('is what its certificate says', () => {
    const message = 'broker b of cluster c may not register as journal n';
    expect(() => checkCallerIsNode(broker, node(NodeRole.JOURNAL))).toThrow(message);
    expect(() => checkCallerIsNode(both, node(NodeRole.UNSPECIFIED))).toThrow('may not register');
  });

  it('renews without telling again what it is', () => {
    expect(() => checkCallerIsNode(broker, undefined)).not.toThrow();
  });
});

describe('an order', () => {
  const order = { orderedBy: 'ann@desk', endOffsetMin: 7 };

  it('names the certificate that it came with', () => {
    const caller: PeerIdentity = { cluster: 'c', name: 'ann', roles: ['operator'] };
    const orderedBy = 'ann@desk (operator ann of cluster c)';
    expect(signedBy(caller, order)).toEqual({ ...order, orderedBy });
    expect(signedBy(undefined, order)).toBe(order);
  });
});
