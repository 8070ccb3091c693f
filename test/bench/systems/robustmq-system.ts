import { Cluster } from '../../harness/cluster.ts';
import type { BrokerSystem } from './broker-system.ts';

/** Our own system: placement, journal and broker as three processes, with nothing set but addresses and the data folder. */
export async function startRobustmq(dataDir: string): Promise<BrokerSystem> {
  const cluster = await Cluster.start({ dataDir });
  return {
    name: 'ours',
    ...cluster.mqtt(),
    processes: {
      placement: cluster.role('placement').pid,
      journal: cluster.role('journal-1').pid,
      broker: cluster.role('broker-1').pid,
    },
    [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose](),
  };
}
