import type { ChaosCluster } from '../cluster/chaos-cluster.ts';
import { diskFaults } from './disk-faults.ts';
import type { FaultKind } from './fault.ts';
import { membershipFaults } from './membership-faults.ts';
import { partitionFaults } from './partition-faults.ts';
import { placementFaults } from './placement-faults.ts';
import { processFaults } from './process-faults.ts';

export const faultKinds: readonly FaultKind[] = [
  ...processFaults,
  ...partitionFaults,
  ...diskFaults,
  ...membershipFaults,
  ...placementFaults,
];

/** What cannot be done, with the reason. */
export function missingFaults(chaos: ChaosCluster): string[] {
  return faultKinds.flatMap((kind) => {
    const reason = kind.missing(chaos);
    return reason === undefined ? [] : [`${kind.name}: ${reason}`];
  });
}
