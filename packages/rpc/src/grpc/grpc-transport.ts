import { type Clock, systemClock } from '@robustmq/core';
import {
  type ChannelCredentials,
  credentials,
  logVerbosity,
  ServerCredentials,
  setLogVerbosity,
} from '@grpc/grpc-js';
import { type BugHandler, endProcess } from '../bug.ts';
import type { Transport } from '../transport.ts';
import { GrpcClient } from './grpc-client.ts';
import { GrpcServer } from './grpc-server.ts';

export interface GrpcTransportOptions {
  /** What clients show and ask for; without, connections are neither private nor authenticated. */
  readonly clientCredentials?: ChannelCredentials;
  /** What servers show and ask for. */
  readonly serverCredentials?: ServerCredentials;
  readonly clock?: Clock;
  /** Timeout of unary calls that name none, in ms. Default 10,000. */
  readonly callTimeoutMs?: number;
  /** How long open calls may go on when a server is disposed, in ms. Default 500. */
  readonly graceMs?: number;
  /** Messages of one stream that may wait to be written. Default 128. */
  readonly streamQueueMessagesMax?: number;
  /** Bytes of one stream that may wait to be written. Default 4 MiB. */
  readonly streamQueueBytesMax?: number;
  /** What a failed assertion in a handler leads to. The default ends the process. */
  readonly onBug?: BugHandler;
}

/** Connections and servers between processes. */
export function grpcTransport(options: GrpcTransportOptions = {}): Transport {
  // grpc-js writes to the console what reaches its callers as errors anyway.
  setLogVerbosity(logVerbosity.NONE);
  const shared = {
    clock: options.clock ?? systemClock(),
    onBug: options.onBug ?? endProcess,
    bounds: {
      messages: options.streamQueueMessagesMax ?? 128,
      bytes: options.streamQueueBytesMax ?? 4 * 1024 * 1024,
    },
  };
  const clientOptions = {
    ...shared,
    credentials: options.clientCredentials ?? credentials.createInsecure(),
    callTimeoutMs: options.callTimeoutMs ?? 10_000,
  };
  const serverOptions = {
    ...shared,
    credentials: options.serverCredentials ?? ServerCredentials.createInsecure(),
    graceMs: options.graceMs ?? 500,
  };
  return {
    connect: (address, kind) => new GrpcClient(address, kind, clientOptions),
    async listen(address, register) {
      const server = new GrpcServer(serverOptions);
      register(server);
      await server.listen(address);
      return server;
    },
  };
}
