import { errorOfStatus, grpcTransport, type RpcClient, type Status } from '@robustmq/rpc';
import { OperatingError } from '@robustmq/core';

import type { Options } from './options.ts';
import { required } from './required.ts';

/** Runs `work` with a connection to the first placement that answers. */
export async function withPlacement<T>(
  options: Options,
  work: (client: RpcClient) => Promise<T>,
): Promise<T> {
  const addresses = required(options, 'placement');
  const transport = grpcTransport();
  for (const [index, address] of addresses.entries()) {
    await using client = transport.connect(address, 'control');
    try {
      return await work(client);
    } catch (thrown) {
      const away = thrown instanceof OperatingError && thrown.code === 'UNAVAILABLE';
      if (!away) throw thrown;
      if (index === addresses.length - 1) {
        throw new OperatingError(
          'UNAVAILABLE',
          `placement does not answer at ${addresses.join(', ')}; is it running? Its address is given with --placement HOST:PORT`,
        );
      }
    }
  }
  throw new OperatingError('INVALID_ARGUMENT', '--placement names no address');
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
