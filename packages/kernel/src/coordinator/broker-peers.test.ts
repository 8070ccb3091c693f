import { systemClock } from '@robustmq/core';
import { inProcessTransport, Node } from '@robustmq/rpc';
import { describe, expect, it } from 'vitest';
import { BrokerPeers } from './broker-peers.ts';

describe('the connections to other brokers', () => {
  it('are not made any more after the end, when nobody would close them', async () => {
    const transport = inProcessTransport();
    const other = Node.fromPartial({ nodeId: 'other', address: 'other:1', incarnation: 1 });
    const peers = new BrokerPeers({
      catalog: { node: (nodeId: string) => (nodeId === 'other' ? other : undefined) },
      transport,
      clock: systemClock(),
      self: { nodeId: 'self', incarnation: 1 },
      notice: () => {},
    });
    expect(peers.connectionTo('other')?.isClosed).toBe(false);
    await peers[Symbol.asyncDispose]();
    expect(peers.connectionTo('other')).toBeUndefined();
  });
});
