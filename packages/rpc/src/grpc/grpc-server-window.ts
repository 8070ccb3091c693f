import type { Http2Server, ServerHttp2Session, ServerOptions } from 'node:http2';
import type { Server } from '@grpc/grpc-js';

/**
 * Raises what a server lets its callers have on the way. The option `grpc-node.flow_control_window`
 * of grpc-js 1.14 is for clients only: its servers stay at HTTP/2's 64 KiB, at which appends of
 * 64 KiB are a third slower. Reaches into fields of grpc-js that are not public; where they are not
 * as expected the window stays small, which the test beside this file tells.
 */
export function raiseServerWindow(server: Server, windowBytes: number): void {
  const options: ServerOptions | undefined = Reflect.get(server, 'commonServerOptions');
  if (options === undefined) return;
  options.settings = { ...options.settings, initialWindowSize: windowBytes };
}

/** The same for whole connections; only once the server has been bound. */
export function raiseSessionWindows(server: Server, windowBytes: number): void {
  const bound: Map<Http2Server, unknown> | undefined = Reflect.get(server, 'http2Servers');
  const raise = (session: ServerHttp2Session): void => session.setLocalWindowSize(windowBytes);
  for (const http2Server of bound?.keys() ?? []) http2Server.on('session', raise);
}
