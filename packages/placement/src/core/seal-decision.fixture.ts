import type { FenceReply } from './seal-decision.ts';

export const usable = (nodeId: string, length: number, chain = length): FenceReply => ({
  kind: 'usable',
  nodeId,
  length,
  chain,
  sizeBytes: length * 10,
  maxTimestampMs: length,
});
export const unusable = (nodeId: string): FenceReply => ({ kind: 'unusable', nodeId });
export const three = { replicas: 3, ackQuorum: 2 };
export const one = { replicas: 1, ackQuorum: 1 };
