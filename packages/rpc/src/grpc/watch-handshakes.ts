import type { Http2SecureServer } from 'node:http2';
import type { Server } from '@grpc/grpc-js';
import type { CallGuard } from '../tls/call-guard.ts';

/**
 * Tells `guard` of connections that fail their handshake, once the server has been bound. grpc-js tells
 * nobody; as for the windows, its servers are reached by a field that is not public, and without it
 * nothing is told.
 */
export function watchHandshakes(server: Server, guard: CallGuard): void {
  const bound: Map<Http2SecureServer, unknown> | undefined = Reflect.get(server, 'http2Servers');
  for (const http2Server of bound?.keys() ?? []) {
    http2Server.on('tlsClientError', (error, socket) => guard.handshakeFailed(error, socket));
  }
}
