import { partitionOf } from '../names/murmur2.ts';

/** The coordinator of a key among so many: as Kafka's clients choose a partition, murmur2 of the key's UTF-8. */
export function coordinatorIndex(key: string, shards: number): number {
  return partitionOf(key, shards);
}
