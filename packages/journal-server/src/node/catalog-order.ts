import { OperatingError } from '@robustmq/core';
import {
  type ReadCatalogResponse,
  type StoreCatalogRequest,
  type StoreCatalogResponse,
  toStatus,
} from '@robustmq/rpc';
import type { JournalStorage } from '../storage/storage.ts';
import { checkAuthority } from './authority-check.ts';
import { operatingErrorOf } from './operating-error.ts';

/** Keeps a copy of the catalog for placement, durably before it answers. */
export async function storeCatalog(
  storage: JournalStorage,
  { authority, revision, copy, placementInstance, startRevision }: StoreCatalogRequest,
): Promise<StoreCatalogResponse> {
  try {
    await checkAuthority(storage, authority);
    const placementEpoch = authority?.placementEpoch ?? 0;
    if (placementInstance.length !== 16) {
      throw new OperatingError('INVALID_ARGUMENT', 'a placement says who it is with 16 bytes');
    }
    // The copy may be a view on what was received, and stays for long.
    const instance = Buffer.from(placementInstance);
    const catalog = { placementEpoch, revision, instance, bytes: Buffer.from(copy) };
    await storage.catalog.store(catalog, startRevision);
    return { status: undefined };
  } catch (thrown) {
    return { status: toStatus(operatingErrorOf(thrown)) };
  }
}

export function readCatalog(storage: JournalStorage): ReadCatalogResponse {
  const { nodeId, clusterId, placementEpoch, diskUuid, catalog } = storage;
  return {
    nodeId,
    clusterId,
    placementEpoch,
    copyEpoch: catalog.current?.placementEpoch ?? 0,
    revision: catalog.current?.revision ?? 0,
    copy: catalog.current?.bytes ?? Buffer.alloc(0),
    diskUuid,
  };
}
