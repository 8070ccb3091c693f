import type { Socket } from 'node:net';

import { parseProxyHeader, type ProxyHeader } from './proxy-header.ts';

/**
 * Reads the PROXY header with which a connection begins, and tells what came, once it is whole; what follows
 * it is left in the socket. Tells nothing when the connection ends before.
 */
export function readProxyHeader(
  socket: Socket,
  done: (header: Exclude<ProxyHeader, { kind: 'more' }>) => void,
): void {
  let held: Buffer = Buffer.alloc(0);
  const take = (): void => {
    const chunk = socket.read() as Buffer | null;
    if (chunk === null) return;
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    const header = parseProxyHeader(held);
    if (header.kind === 'more') return;
    socket.off('readable', take);
    if (header.kind === 'header' && held.length > header.bytes) {
      socket.unshift(held.subarray(header.bytes));
    }
    done(header);
  };
  socket.on('readable', take);
}
