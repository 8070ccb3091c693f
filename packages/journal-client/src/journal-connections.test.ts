import { OperatingError, systemClock } from '@robustmq/core';
import { inProcessTransport, type RpcClient } from '@robustmq/rpc';
import { describe, expect, it } from 'vitest';
import { defaultClientLimits } from './client-limits.ts';
import { ClientTurn } from './client-turn.ts';
import { JournalConnections } from './journal-connections.ts';

describe('connections', () => {
  it('that are asked for after the end are closed, so that nothing keeps the process alive', async () => {
    const inner = inProcessTransport();
    const open = new Set<RpcClient>();
    const connections = new JournalConnections({
      transport: {
        listen: inner.listen.bind(inner),
        connect(address, kind) {
          const client = inner.connect(address, kind);
          open.add(client);
          const dispose = client[Symbol.asyncDispose].bind(client);
          client[Symbol.asyncDispose] = () => {
            open.delete(client);
            return dispose();
          };
          return client;
        },
      },
      placement: { reportUnreachable: () => Promise.resolve() },
      clock: systemClock(),
      turn: new ClientTurn(),
      limits: defaultClientLimits,
    });
    const place = { nodeId: 'j1', incarnation: 1, address: 'j1:1' };
    connections.get(place);
    expect(open.size).toBe(1);
    await connections[Symbol.asyncDispose]();
    expect(open.size).toBe(0);
    const late = connections.get(place).listOffsets([]);
    await expect(late).rejects.toThrow(OperatingError);
    expect(open.size).toBe(0);
  });
});
