import { join } from 'node:path';

import type { BrokerSystem, SystemName } from './broker-system.ts';
import { startMosquitto } from './mosquitto-system.ts';
import { startRobustmq } from './robustmq-system.ts';

/** Starts a system with whatever is durable in `dataDir`. */
export function startSystem(name: SystemName, dataDir: string): Promise<BrokerSystem> {
  return name === 'ours' ? startRobustmq(join(dataDir, 'robustmq')) : startMosquitto();
}
