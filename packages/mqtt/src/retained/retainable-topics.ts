import { sharedTopic } from '@robustmq/kernel';
import type { Topic } from '@robustmq/rpc';

/** Whether MQTT clients write to a topic: then it can hold retained messages. */
export function isRetainable({ name, config }: Pick<Topic, 'name' | 'config'>): boolean {
  return name === sharedTopic || (config['mqtt.prefix'] ?? '') !== '';
}

/** The coordinator that folds a partition. Consecutive shards, those of one topic, have different ones. */
export function retainedIndex(shardId: number, shards: number): number {
  return shardId % shards;
}
