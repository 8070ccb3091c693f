export type {
  CallContext,
  CallOptions,
  ChannelKind,
  MessageStream,
  Method,
  RpcClient,
  RpcServer,
  ServiceRegistry,
  StreamHandler,
  StreamHandlers,
  Transport,
  UnaryHandler,
} from './transport.ts';
