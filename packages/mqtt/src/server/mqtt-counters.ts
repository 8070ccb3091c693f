/** What is counted: plain numbers, read when the metrics are scraped. */
export interface MqttCounters {
  connections: number;
  /** Clients that have got a session, since the start. */
  connects: number;
  packetsIn: number;
  packetsOut: number;
  publishesIn: [qos0: number, qos1: number, qos2: number];
  publishesOut: [qos0: number, qos1: number, qos2: number];
  bytesIn: number;
  bytesOut: number;
  /** QoS 0 publishes of clients that found the partition's queue full. */
  droppedIn: number;
  /** Publishes that the rules do not allow. */
  droppedUnauthorized: number;
  /** Filters of SUBSCRIBEs that the rules do not allow. */
  subscriptionsUnauthorized: number;
  /** Connections ended because who was connected may not be any more. */
  revoked: number;
  /** QoS 0 messages for clients whose sockets were full. */
  droppedOut: number;
  /** Messages that were larger than the client's Maximum Packet Size. */
  droppedTooLarge: number;
  /** Messages that expired before they could be delivered. */
  droppedExpired: number;
  /** Publishes that would have set a retained message for which there was no room, by what became of them. */
  retainedRefused: { told: number; deliveredOnly: number };
  headersLeftOut: number;
  /** Connections that ended with a fault, by reason code. */
  faults: Map<number, number>;
  takeovers: number;
  /** Connections ended because the client took nothing for too long. */
  stalled: number;
}

export function newMqttCounters(): MqttCounters {
  return {
    connections: 0,
    connects: 0,
    packetsIn: 0,
    packetsOut: 0,
    publishesIn: [0, 0, 0],
    publishesOut: [0, 0, 0],
    bytesIn: 0,
    bytesOut: 0,
    droppedIn: 0,
    droppedUnauthorized: 0,
    subscriptionsUnauthorized: 0,
    revoked: 0,
    droppedOut: 0,
    droppedTooLarge: 0,
    droppedExpired: 0,
    retainedRefused: { told: 0, deliveredOnly: 0 },
    headersLeftOut: 0,
    faults: new Map(),
    takeovers: 0,
    stalled: 0,
  };
}

export function countFault(counters: MqttCounters, reasonCode: number): void {
  counters.faults.set(reasonCode, (counters.faults.get(reasonCode) ?? 0) + 1);
}
