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

/**
 * Asks every broker that is not down, all at once; in the order of their names. Those that do not answer are
 * named on standard error, and the command ends with 1. Throws UNAVAILABLE when there is no broker.
 */
export async function askBrokers<T>(
  options: Options,
  ask: (client: RpcClient, nodeId: string) => Promise<T>,
): Promise<BrokerAnswer<T>[]> {
  const { nodes } = await viewPlacement(options, {});
  const brokers = nodes
    .filter(({ role, state }) => role === NodeRole.BROKER && state !== NodeState.DOWN)
    .toSorted((a, b) => a.nodeId.localeCompare(b.nodeId, 'en', { numeric: true }));
  if (brokers.length === 0) {
    throw new OperatingError('UNAVAILABLE', 'no broker is up: nobody is connected');
  }
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
