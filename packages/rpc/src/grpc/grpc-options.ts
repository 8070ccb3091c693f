import { limits } from '@robustmq/core';
import type { ChannelOptions } from '@grpc/grpc-js';
import type { ChannelKind } from '../transport.ts';

/** Received bytes that one stream, and one connection, may have on the way. */
export const flowControlWindowBytes = 4 * 1024 * 1024;

const common: ChannelOptions = {
  'grpc.max_send_message_length': limits.grpcMessageBytesMax,
  'grpc.max_receive_message_length': limits.grpcMessageBytesMax,
  'grpc-node.flow_control_window': flowControlWindowBytes,
  // Counters that nobody reads.
  'grpc.enable_channelz': 0,
};

/** Options of a client's channel. Each channel has a connection of its own. */
export function clientOptions(kind: ChannelKind): ChannelOptions {
  const isBulk = kind === 'bulk';
  return {
    ...common,
    'grpc.use_local_subchannel_pool': 1,
    // Whoever calls knows whether a call may be repeated; retries would keep a copy of each message.
    'grpc.enable_retries': 0,
    'grpc.service_config_disable_resolution': 1,
    'grpc.enable_http_proxy': 0,
    // A server that comes back is found at once.
    'grpc.initial_reconnect_backoff_ms': 50,
    'grpc.max_reconnect_backoff_ms': 200,
    'grpc.dns_min_time_between_resolutions_ms': 1_000,
    // A connection that was cut for long is no good when the cut is over: TCP sends again after a time that
    // doubles. So it ends early, and the next one is new. A ping waits behind data: on bulk channels of
    // clients, which may be far away, it is given more time.
    'grpc.keepalive_time_ms': isBulk ? 5_000 : 1_000,
    'grpc.keepalive_timeout_ms': isBulk ? 5_000 : 2_000,
    'grpc.keepalive_permit_without_calls': isBulk ? 0 : 1,
  };
}

/** Options of a server, for both kinds of channels. */
export function serverOptions(): ChannelOptions {
  return {
    ...common,
    'grpc.keepalive_time_ms': 5_000,
    'grpc.keepalive_timeout_ms': 5_000,
  };
}
