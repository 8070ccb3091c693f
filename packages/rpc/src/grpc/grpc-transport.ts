import { type Clock, hostOf, type Logger, silentLogger, systemClock } from '@robustmq/core';
import { logVerbosity, ServerCredentials, setLogVerbosity } from '@grpc/grpc-js';
import { type BugHandler, endProcess } from '../bug.ts';
import { type AccessRules, accessRules } from '../tls/access-rules.ts';
import { CallGuard } from '../tls/call-guard.ts';
import { ClusterChannelCredentials } from '../tls/channel-credentials.ts';
import type { ClusterTls } from '../tls/cluster-tls.ts';
import { ClusterServerCredentials } from '../tls/server-credentials.ts';
import type { Transport } from '../transport.ts';
import { PlainCredentials } from './closable-credentials.ts';
import { GrpcClient } from './grpc-client.ts';
import { GrpcServer } from './grpc-server.ts';

export interface GrpcTransportOptions {
  /** Mutual TLS; without, connections are neither private nor authenticated, and anyone may call. */
  readonly tls?: ClusterTls | undefined;
  /** Who may call what, with TLS. Default: {@link accessRules}. */
  readonly access?: AccessRules;
  /** Told of callers that are refused. */
  readonly logger?: Logger;
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
  const { tls, access = accessRules, logger = silentLogger() } = options;
  const clientOptions = { ...shared, callTimeoutMs: options.callTimeoutMs ?? 10_000 };
  const serverOptions = {
    ...shared,
    credentials: tls ? new ClusterServerCredentials(tls) : ServerCredentials.createInsecure(),
    guard: tls && new CallGuard({ tls, rules: access, logger }),
    graceMs: options.graceMs ?? 500,
  };
  return {
    connect(address, kind) {
      const host = hostOf(address);
      const secure = tls && new ClusterChannelCredentials({ tls, rules: access, host });
      const own = { ...clientOptions, credentials: secure ?? new PlainCredentials(), secure };
      return new GrpcClient(address, kind, own);
    },
    async listen(address, register) {
      const server = new GrpcServer(serverOptions);
      register(server);
      await server.listen(address);
      return server;
    },
  };
}
