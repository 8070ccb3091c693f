import { nodeId, segmentId } from '@robustmq/core';
import { inProcessTransport, journalReplicaMethods, Node, type Transport } from '@robustmq/rpc';
import { VirtualClock } from '@robustmq/testkit';
import { expect, it } from 'vitest';
import { encodeProducerSnapshot } from '../core/producer-snapshot.ts';
import { journalLimits } from './journal-limits.ts';
import { ProducerTakeover } from './producer-takeover.ts';

const address = 'other:1';

it('asks another journal for the producers of many segments over one connection, which it then closes', async () => {
  const inner = inProcessTransport({ graceMs: 1 });
  const connections = { made: 0, closed: 0 };
  const transport: Transport = {
    listen: (where, register) => inner.listen(where, register),
    connect: (where, kind) => {
      const client = inner.connect(where, kind);
      connections.made++;
      return {
        address: where,
        call: (method, request, options) => client.call(method, request, options),
        open: (method, handlers) => client.open(method, handlers),
        [Symbol.asyncDispose]: () => {
          connections.closed++;
          return client[Symbol.asyncDispose]();
        },
      };
    },
  };
  const takeover = new ProducerTakeover({
    // Nobody looks further than at whose it is.
    storage: { nodeId: nodeId('own') } as ConstructorParameters<
      typeof ProducerTakeover
    >[0]['storage'],
    transport,
    clock: new VirtualClock(),
    limits: journalLimits,
    replica: () => undefined,
  });
  await using _server = await inner.listen(address, (registry) => {
    registry.unary(journalReplicaMethods.exportProducers, () => {
      return { status: undefined, snapshot: encodeProducerSnapshot(takeover.empty()) };
    });
  });
  const fullNodes = [Node.create({ nodeId: 'other', address })];
  const take = async (at: number): Promise<number> => {
    const id = segmentId(at.toString(16).padStart(32, '0'));
    const { state } = await takeover.takeOver({ segmentId: id, endOffset: 1, fullNodes });
    return state.size;
  };
  expect(await Promise.all(Array.from({ length: 100 }, (_, at) => take(at)))).toEqual(
    Array.from({ length: 100 }, () => 0),
  );
  expect(connections).toEqual({ made: 1, closed: 1 });
  expect(await take(100)).toBe(0);
  expect(connections).toEqual({ made: 2, closed: 2 });
});
