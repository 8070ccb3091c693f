import type { Socket } from 'node:net';

import type { Peer } from '@robustmq/auth';

/** The other end of a plain socket. */
export function peerOf(socket: Socket): Peer {
  const { remoteAddress = '', remotePort = 0 } = socket;
  return { address: remoteAddress, port: remotePort, listener: 'mqtt' };
}
