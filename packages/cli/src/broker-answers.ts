import { OperatingError, toOperatingError } from '@robustmq/core';
import { NodeRole, NodeState, type RpcClient } from '@robustmq/rpc';

import { viewPlacement } from './cluster-view.ts';
import { commandTransport } from './command-transport.ts';
import type { Options } from './options.ts';

/** What one broker has answered. */
export interface BrokerAnswer<T> {
  readonly nodeId: string;
  readonly answer: T;
}

interface UpBroker {
  readonly nodeId: string;
  readonly address: string;
}

/** Brokers that are not down, in the order of their names. Throws UNAVAILABLE when there is none. */
async function upBrokers(options: Options): Promise<UpBroker[]> {
  const { nodes } = await viewPlacement(options, {});
  const brokers = nodes
    .filter(({ role, state }) => role === NodeRole.BROKER && state !== NodeState.DOWN)
    .toSorted((a, b) => a.nodeId.localeCompare(b.nodeId, 'en', { numeric: true }));
  if (brokers.length > 0) return brokers;
  throw new OperatingError('UNAVAILABLE', 'no broker is up: nobody is connected');
}

/**
 * Asks one broker; the next one when that cannot answer now, with a line on standard error. Throws what the last
 * one has answered.
 */
export async function askAnyBroker<T>(
  options: Options,
  ask: (client: RpcClient) => Promise<T>,
): Promise<T> {
  const transport = commandTransport(options);
  let last = new OperatingError('UNAVAILABLE', 'no broker was asked');
  for (const { nodeId, address } of await upBrokers(options)) {
    await using client = transport.connect(address, 'control');
    try {
      return await ask(client);
    } catch (thrown) {
      last = toOperatingError(thrown);
      if (!last.retriable) throw last;
      process.stderr.write(`${nodeId} does not answer: ${last.message}\n`);
    }
  }
  throw last;
}

/**
 * Asks every broker that is not down, all at once; in the order of their names. Those that do not answer are
 * named on standard error, and the command ends with 1. Throws UNAVAILABLE when there is no broker.
 */
export async function askBrokers<T>(
  options: Options,
  ask: (client: RpcClient, nodeId: string) => Promise<T>,
): Promise<BrokerAnswer<T>[]> {
  const brokers = await upBrokers(options);
  const transport = commandTransport(options);
  const answers = await Promise.all(
    brokers.map(async ({ nodeId, address }): Promise<BrokerAnswer<T>[]> => {
      await using client = transport.connect(address, 'control');
      try {
        return [{ nodeId, answer: await ask(client, nodeId) }];
      } catch (thrown) {
        const error = toOperatingError(thrown);
        if (error.code === 'INVALID_ARGUMENT') throw error;
        process.stderr.write(`${nodeId} does not answer: ${error.message}\n`);
        process.exitCode = 1;
        return [];
      }
    }),
  );
  return answers.flat();
}
