import { errorOfStatus, type RpcClient, type Status } from '@robustmq/rpc';
import { OperatingError } from '@robustmq/core';

import type { Options } from './options.ts';
import { commandTransport } from './command-transport.ts';
import { placementStates } from './placement-states.ts';
import { required } from './required.ts';
import { tlsPaths } from './tls-options.ts';

/** Runs `work` with a connection to the placement that decides. */
export async function withPlacement<T>(
  options: Options,
  work: (client: RpcClient) => Promise<T>,
): Promise<T> {
  const address = await decidingPlacement(options);
  await using client = commandTransport(options).connect(address, 'control');
  try {
    return await work(client);
  } catch (thrown) {
    const isAway = thrown instanceof OperatingError && thrown.code === 'UNAVAILABLE';
    throw isAway ? unreachable(options, thrown.message) : thrown;
  }
}

/** All are asked at once: one that is stopped would hold the command for its whole timeout. */
async function decidingPlacement(options: Options): Promise<string> {
  const [first = '', ...others] = required(options, 'placement');
  if (others.length === 0) return first;
  const states = await placementStates(options);
  const deciding = states.find(({ state }) => state === 'leads');
  if (deciding !== undefined) return deciding.address;
  const text = states.map(({ address, state }) => `${address} ${state}`).join(', ');
  throw new OperatingError(
    'UNAVAILABLE',
    `no placement decides now: ${text}; is etcd there? Another one takes over within seconds`,
  );
}

/** With what has failed, unless nobody listens there. */
function unreachable(options: Options, message: string): OperatingError {
  const addresses = required(options, 'placement').join(', ');
  const [, reason = ''] =
    /Last error: (?:\w*Error: )?(.*?)(?: \([^)]*\))?\. Res/.exec(message) ?? [];
  if (reason === '' || reason.includes('ECONNREFUSED')) {
    return new OperatingError(
      'UNAVAILABLE',
      `placement does not answer at ${addresses}; is it running? Its address is given with --placement HOST:PORT`,
    );
  }
  const hint = tlsPaths(options)
    ? 'is --placement right, and is the certificate of this cluster?'
    : "if the cluster uses TLS, give --cluster-tls-dir with an operator's certificate";
  return new OperatingError(
    'UNAVAILABLE',
    `no connection to placement at ${addresses}: ${reason}; ${hint}`,
  );
}

/** Throws the error that a status carries, if it carries one. */
export function throwStatus(status: Status | undefined): void {
  if (status !== undefined && status.code !== 0) throw errorOfStatus(status);
}

/** Rows as a table with aligned columns; the first row is the head. */
export function table(rows: readonly (readonly (string | number)[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, String(cell).length);
    });
  }
  const line = (row: readonly (string | number)[]): string =>
    row
      .map((cell, column) => String(cell).padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  return `${rows.map(line).join('\n')}\n`;
}
