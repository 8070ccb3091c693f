import type { ShardId } from '@robustmq/core';
import type { RecordCursor } from '@robustmq/record-batch';
import type { ShareStrategy } from './member-choice.ts';
import type { ShareTraits } from './share-record.ts';

/** Where the records of one share group come from. It follows the catalog by itself. */
export interface ShareSource {
  /** Partitions that can hold the group's records, as the catalog shows them now. */
  partitions(): readonly ShardId[];
  /** By key: whether the record on which the cursor stands may be the group's. Headers are not read. */
  wants(shardId: ShardId, cursor: RecordCursor): boolean;
  /**
   * Says how the record on which the cursor stands wants to be delivered: at least once and for ever
   * unless `traits` is changed. False: it is not the group's after all.
   */
  describe(cursor: RecordCursor, appendTimeMs: number, traits: ShareTraits): boolean;
}

/** What one protocol's share groups have of their own. */
export interface ShareProtocol {
  readonly strategy: ShareStrategy;
  /** Time in which a member has to answer for a record that is to be delivered at least once. */
  readonly acquisitionMs: number;
  /** A record is handed out so often at most; absent: any number of times. */
  readonly attemptsMax?: number;
  /** `name` is what stands behind the protocol in the group's id. */
  open(name: string): ShareSource;
}

/** The id of a group: `mqtt:sensors/room/#`. Its coordinator is found by it. */
export function shareGroupId(protocol: string, name: string): string {
  return `${protocol}:${name}`;
}

/** The two parts of a group's id. */
export function partsOfGroupId(groupId: string): { protocol: string; name: string } {
  const colon = groupId.indexOf(':');
  return { protocol: groupId.slice(0, colon), name: groupId.slice(colon + 1) };
}
