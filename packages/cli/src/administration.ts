import {
  errorOfStatus,
  grpcTransport,
  type RpcClient,
  type Status,
  type Transport,
} from '@robustmq/rpc';
import { OperatingError } from '@robustmq/core';

import type { Options } from './options.ts';
import { required } from './required.ts';
import { commandTls, tlsPaths } from './tls-options.ts';

/** How commands reach the cluster: with TLS when its files are given. */
export function commandTransport(options: Options): Transport {
  return grpcTransport({ tls: commandTls(options, ['operator']) });
}

/** Runs `work` with a connection to the first placement that answers and decides. */
export async function withPlacement<T>(
  options: Options,
  work: (client: RpcClient) => Promise<T>,
): Promise<T> {
  const addresses = required(options, 'placement');
  const transport = commandTransport(options);
  for (const [index, address] of addresses.entries()) {
    await using client = transport.connect(address, 'control');
    try {
      return await work(client);
    } catch (thrown) {
      if (!(thrown instanceof OperatingError)) throw thrown;
      const isLast = index === addresses.length - 1;
      if (thrown.code === 'NOT_LEADER' && !isLast) continue;
      if (thrown.code !== 'UNAVAILABLE') throw thrown;
      if (isLast) throw unreachable(options, thrown.message);
    }
  }
  throw new OperatingError('INVALID_ARGUMENT', '--placement names no address');
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
