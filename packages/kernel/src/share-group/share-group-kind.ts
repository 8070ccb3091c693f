import type { Offset, Random, ShardId } from '@robustmq/core';
import type { Catalog, PlacementClient } from '@robustmq/placement-client';
import type { CoordinatorKind } from '../coordinator/state-machine.ts';
import type { FanOut } from '../fan-out/fan-out.ts';
import type { ShareGroupCounts } from './share-group.ts';
import { ShareGroupMachine } from './share-group-machine.ts';
import type { ShareProtocol } from './share-protocol.ts';

/** Its log is the internal topic `$share-group`. */
export const shareGroupKind = 'share-group';
/** Shards when the cluster is made. */
const shareGroupShards = 16;

/** Bounds of a coordinator of share groups. */
export interface ShareGroupLimits {
  readonly groupsMax: number;
  /** Members of one group. */
  readonly membersMax: number;
  /** Records of one partition of a group that were read and are not settled, about. */
  readonly recordsMax: number;
  /** Bytes of the records that a group keeps. */
  readonly groupBytesMax: number;
  /** Bytes of the records that all groups of a coordinator keep. */
  readonly bytesMax: number;
}

const limitsDefault: ShareGroupLimits = {
  groupsMax: 10_000,
  membersMax: 10_000,
  recordsMax: 10_000,
  groupBytesMax: 16 * 1024 * 1024,
  bytesMax: 128 * 1024 * 1024,
};

export interface ShareGroupKindOptions {
  /** By what group ids begin with. */
  readonly protocols: Readonly<Record<string, ShareProtocol>>;
  readonly catalog: Pick<Catalog, 'topics' | 'onChange'>;
  readonly fanOut: Pick<FanOut, 'attach'>;
  /** End of a partition as its leader says now. */
  readonly endOffset: (shardId: ShardId) => Promise<Offset>;
  /** Keeps retention from taking what groups have not settled. */
  readonly placement: Pick<PlacementClient, 'holdShards'>;
  readonly random: Random;
  /** Of all coordinators together. */
  readonly counts: ShareGroupCounts;
  readonly limits?: Partial<ShareGroupLimits>;
}

/** The coordinator of share groups, to be registered at the host of every broker. */
export function createShareGroupKind(options: ShareGroupKindOptions): CoordinatorKind {
  return {
    kind: shareGroupKind,
    shards: shareGroupShards,
    create: (context) =>
      new ShareGroupMachine(context, {
        ...options,
        limits: { ...limitsDefault, ...options.limits },
      }),
  };
}
