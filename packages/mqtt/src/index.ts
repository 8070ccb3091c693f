export { registerBrokerAdmin } from './admin/broker-admin.ts';
export { isIpNetwork } from './listener/ip-address.ts';
export type {
  ListenerKind,
  ListenerLimits,
  ListenerTls,
  MqttListenerOptions,
  ServerCertificate,
  ServerCertificates,
} from './listener/listener-options.ts';
export type { MqttCounters } from './server/mqtt-counters.ts';
export { type MqttLimits, mqttLimitsDefault } from './server/mqtt-limits.ts';
export { type MetricFamily, mqttMetrics } from './server/mqtt-metrics.ts';
export { MqttServer, type MqttServerOptions } from './server/mqtt-server.ts';
export { type MqttObservation, mqttObservationDefault } from './server/observation.ts';
export { TopicMeters } from './slow/topic-meters.ts';
export { type ClientEventKind, clientEventKinds } from './system/client-events.ts';
export { type AutoSubscription, AutoSubscriptions } from './rewrite/auto-subscriptions.ts';
export { type RewriteRule, TopicRewriter } from './rewrite/topic-rewriter.ts';
export type { RetainedGateway } from './session/session-gateway.ts';
export {
  CoordinatorRetainedGateway,
  type CoordinatorRetainedGatewayOptions,
} from './retained/coordinator-retained-gateway.ts';
export {
  createRetainedKind,
  type RetainedKindOptions,
  type RetainedLimits,
} from './retained/retained-machine.ts';
export { retainedMetrics } from './retained/retained-metrics.ts';
export { RetainedStats } from './retained/retained-room.ts';
export {
  CoordinatorSessionGateway,
  type CoordinatorSessionGatewayOptions,
} from './session/coordinator-session-gateway.ts';
export {
  createMqttShares,
  mqttShares,
  type MqttShareOptions,
} from './share/mqtt-share-protocol.ts';
export type { SessionLimits } from './session/session-input.ts';
export { createSessionKind, type SessionKindOptions } from './session/session-machine.ts';
