import { OperatingError, systemClock } from '@robustmq/core';
import {
  inProcessTransport,
  journalBrokerMethods,
  type ListOffsetsResponse,
  type RpcClient,
} from '@robustmq/rpc';
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

  it('tell placement of a journal that answers nothing, and of none that answers', async () => {
    const transport = inProcessTransport();
    const answers = (address: string, listOffsets: () => Promise<ListOffsetsResponse>) =>
      transport.listen(address, (registry) =>
        registry.unary(journalBrokerMethods.listOffsets, listOffsets),
      );
    await using _ = await answers('silent:1', () => new Promise(() => undefined));
    const asked = Promise.withResolvers<void>();
    await using _other = await answers('well:1', () => {
      asked.resolve();
      return Promise.resolve({ results: [] });
    });
    const reported: unknown[] = [];
    const told = Promise.withResolvers<void>();
    await using connections = new JournalConnections({
      transport,
      placement: {
        reportUnreachable: (...report) => {
          reported.push(report);
          told.resolve();
          return Promise.resolve();
        },
      },
      clock: systemClock(),
      turn: new ClientTurn(),
      limits: { ...defaultClientLimits, askPlacementAfterMs: 20 },
    });
    connections.get({ nodeId: 'j1', incarnation: 1, address: 'well:1' }).check();
    await asked.promise;
    const silent = connections.get({ nodeId: 'j2', incarnation: 7, address: 'silent:1' });
    silent.check();
    silent.check();
    await told.promise;
    expect(reported).toEqual([['j2', 7, true]]);
  });
});
