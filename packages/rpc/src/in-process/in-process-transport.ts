import { type Clock, OperatingError, systemClock } from '@robustmq/core';
import { type BugHandler, endProcess } from '../bug.ts';
import type { RpcServer, ServiceRegistry, Transport } from '../transport.ts';
import { InProcessClient, type InProcessClientOptions } from './in-process-client.ts';
import { InProcessServer } from './in-process-server.ts';

export interface InProcessTransportOptions {
  readonly clock?: Clock;
  /** Timeout of unary calls that name none, in ms. Default 10,000. */
  readonly callTimeoutMs?: number;
  /** How long open calls may go on when a server is disposed, in ms. Default 500. */
  readonly graceMs?: number;
  /** Messages of one stream that may wait for delivery. Default 128. */
  readonly streamQueueMessagesMax?: number;
  /** Bytes of one stream that may wait for delivery, about. Default 4 MiB. */
  readonly streamQueueBytesMax?: number;
  /** What a failed assertion in a handler leads to. The default ends the process. */
  readonly onBug?: BugHandler;
}

/**
 * Connections and servers within this process: each transport is a network of its own, and its
 * addresses are names. Messages travel by reference, so ownership of their buffers really moves.
 */
export function inProcessTransport(options: InProcessTransportOptions = {}): Transport {
  const servers = new Map<string, InProcessServer>();
  const clock = options.clock ?? systemClock();
  const onBug = options.onBug ?? endProcess;
  const clientOptions: InProcessClientOptions = {
    clock,
    onBug,
    callTimeoutMs: options.callTimeoutMs ?? 10_000,
    bounds: {
      messages: options.streamQueueMessagesMax ?? 128,
      bytes: options.streamQueueBytesMax ?? 4 * 1024 * 1024,
    },
    find: (address) => servers.get(address),
  };
  const serverOptions = { clock, onBug, graceMs: options.graceMs ?? 500 };
  let freePort = 10_001;

  const listen = (asked: string, register: (registry: ServiceRegistry) => void): RpcServer => {
    const address = asked.replace(/:0$/, () => `:${freePort++}`);
    if (servers.has(address)) {
      throw new OperatingError(
        'UNAVAILABLE',
        `cannot listen on ${address}: it is taken; choose another address`,
      );
    }
    const server = new InProcessServer(address, serverOptions, () => servers.delete(address));
    register(server);
    servers.set(address, server);
    return server;
  };
  return {
    connect: (address) => new InProcessClient(address, clientOptions),
    // oxlint-disable-next-line typescript/require-await -- an interface for servers that have to wait
    listen: async (address, register) => listen(address, register),
  };
}
