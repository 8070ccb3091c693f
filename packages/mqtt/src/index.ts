export type { MqttCounters } from './server/mqtt-counters.ts';
export type { MqttLimits } from './server/mqtt-limits.ts';
export { type MetricFamily, mqttMetrics } from './server/mqtt-metrics.ts';
export { MqttServer, type MqttServerOptions } from './server/mqtt-server.ts';
export { CoordinatorSessionGateway } from './session/coordinator-session-gateway.ts';
export { createSessionKind } from './session/session-machine.ts';
export type { RetainedGateway } from './session/session-gateway.ts';
