import type { Entity } from '@robustmq/kernel';
import { MqttRetained } from '@robustmq/rpc';
import { decodeMessage, encodeMessage } from '../session/encoded-message.ts';

/** The retained message of a name in one partition. Never changes: a new one replaces it. */
export interface RetainedEntry extends Entity {
  readonly topic: string;
  readonly shardId: number;
  readonly offset: number;
  /** Infinite when it never expires. */
  readonly expiresAtMs: number;
  /** `MqttRetained`, in a buffer of its own. */
  readonly encoded: Buffer;
}

export function newRetainedEntry(retained: MqttRetained): RetainedEntry {
  return entryOf(retained, encodeMessage(MqttRetained, retained));
}

/** An entry of a snapshot; `bytes` is a view. */
export function decodeRetainedEntry(bytes: Buffer): RetainedEntry {
  return newRetainedEntry(decodeMessage(MqttRetained, bytes));
}

/** What an entry takes, about: its bytes, its name, and the maps that it stands in. */
export function retainedEntryBytes({ encoded, topic }: RetainedEntry): number {
  return encoded.length + topic.length + overheadBytes;
}

/** Measured with 500,000 small messages: objects of the heap and of the buffer, and what the allocator adds. */
const overheadBytes = 600;

function entryOf(retained: MqttRetained, encoded: Buffer): RetainedEntry {
  const { topic, shardId, offset, expiresAtMs = Number.POSITIVE_INFINITY } = retained;
  return { snapshotMark: 0, topic, shardId, offset, expiresAtMs, encoded };
}
