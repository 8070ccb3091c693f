import { toOperatingError } from '@robustmq/core';
import { placementAdminMethods } from '@robustmq/rpc';

import { commandTransport } from './command-transport.ts';
import type { Options } from './options.ts';
import { required } from './required.ts';

/** `leads`: it decides; `stands by`: it takes over when the one that leads is gone. */
export interface PlacementState {
  readonly address: string;
  readonly state: 'leads' | 'stands by' | 'does not answer';
}

const timeoutMs = 2_000;

/** Asks each placement server that `--placement` names what it does. */
export function placementStates(options: Options): Promise<PlacementState[]> {
  const transport = commandTransport(options);
  return Promise.all(
    required(options, 'placement').map(async (address) => {
      await using client = transport.connect(address, 'control');
      // A topic that cannot be: nothing of the catalog has to travel.
      const request = { topic: '/', includeInternal: false };
      try {
        await client.call(placementAdminMethods.describeCluster, request, { timeoutMs });
        return { address, state: 'leads' };
      } catch (thrown) {
        const { code } = toOperatingError(thrown);
        return { address, state: code === 'NOT_LEADER' ? 'stands by' : 'does not answer' };
      }
    }),
  );
}
