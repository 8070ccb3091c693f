import { OperatingError } from '@robustmq/core';
import type { Authority } from '@robustmq/rpc';
import type { JournalStorage } from '../storage/storage.ts';

type Identity = Pick<JournalStorage, 'clusterId' | 'placementEpoch' | 'adoptCluster' | 'catalog'>;

/**
 * Checks who orders. A higher placement epoch is remembered durably before the order is carried out,
 * so that a placement from an old backup is refused. Throws WRONG_CLUSTER, FENCED, INVALID_ARGUMENT, and
 * OLD_STORE for a placement whose store is an old copy.
 */
export async function checkAuthority(
  identity: Identity,
  authority: Authority | undefined,
): Promise<void> {
  if (authority === undefined || authority.clusterId === '') {
    throw new OperatingError('INVALID_ARGUMENT', 'an order names its cluster and placement epoch');
  }
  const { clusterId, placementEpoch } = authority;
  if (identity.clusterId !== '' && identity.clusterId !== clusterId) {
    const message = `this journal belongs to cluster ${identity.clusterId}, the order comes from ${clusterId}`;
    throw new OperatingError('WRONG_CLUSTER', message);
  }
  if (placementEpoch < identity.placementEpoch) {
    const message = `placement epoch ${placementEpoch} is below ${identity.placementEpoch}: another placement has taken over`;
    throw new OperatingError('FENCED', message, { epoch: identity.placementEpoch });
  }
  const { placementInstance: instance, startRevision = 0, revision = 0, lineage } = authority;
  if (instance !== undefined) {
    identity.catalog.noteOrder({ instance, startRevision, revision, lineage });
  }
  if (identity.clusterId === clusterId && identity.placementEpoch === placementEpoch) return;
  await identity.adoptCluster(clusterId, placementEpoch);
}
