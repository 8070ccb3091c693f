import { offset } from '@robustmq/core';
import type { LogReader, TopicNames } from '@robustmq/kernel';

import { SubscriptionTrie } from '../codec/subscription-trie.ts';
import type {
  RetainedGateway,
  RetainedMessage,
  RetainedPage,
  StoredHeader,
} from '../session/session-gateway.ts';

/** Small, so that tests see more than one. */
const pageMessages = 10;

/** Retained messages, folded anew from the shared topic's log at each lookup. */
export class FoldingRetained implements RetainedGateway {
  readonly #log: LogReader;
  readonly #names: () => TopicNames;
  /** Called with each page that is asked for; it may throw, or return a promise to hold it. */
  onLookup: (filter: string) => Promise<void> | void = () => {};

  constructor(log: LogReader, names: () => TopicNames) {
    this.#log = log;
    this.#names = names;
  }

  /** The partitions that have no room. */
  readonly full = new Set<number>();

  hasRoom(shardId: number): boolean {
    return !this.full.has(shardId);
  }

  async page(
    filter: string,
    reached: Parameters<RetainedGateway['page']>[1],
    { from }: Parameters<RetainedGateway['page']>[2],
  ): Promise<RetainedPage> {
    await this.onLookup(filter);
    const found = new Map<string, RetainedMessage>();
    for (const { shardId } of reached) await this.#fold(shardId, found);
    const trie = new SubscriptionTrie<string, true>();
    trie.insert(filter, filter, true);
    const messages = [...found.values()]
      .filter(({ topic }) => topic >= (from?.name ?? '') && trie.match(topic, []).length > 0)
      .toSorted((a, b) => (a.topic < b.topic ? -1 : 1));
    const following = messages[pageMessages];
    return {
      coordinator: 0,
      messages: messages.slice(0, pageMessages),
      next: following && { coordinator: 0, shardId: 0, name: following.topic },
    };
  }

  async #fold(
    shardId: RetainedMessage['shardId'],
    found: Map<string, RetainedMessage>,
  ): Promise<void> {
    let fromOffset = offset(0);
    for (;;) {
      const { nextOffset } = await this.#log.read(shardId, { fromOffset }, (batch) => {
        const { cursor, baseOffset, appendTimeMs } = batch;
        while (cursor.next()) {
          const { buffer, keyStart, keyEnd, valueStart, valueEnd, offsetDelta } = cursor;
          const key = buffer.subarray(keyStart, keyEnd);
          const topic = this.#names().mqttNameOf('mqtt', key, 'mqtt');
          const headers = headersAt(cursor);
          if (topic === null || !headers.some(({ name }) => String(name) === 'mqtt.retain')) {
            continue;
          }
          if (valueStart < 0) {
            found.delete(topic);
            continue;
          }
          const value = Buffer.from(buffer.subarray(valueStart, valueEnd));
          const at = offset(baseOffset + offsetDelta);
          found.set(topic, { topic, shardId, offset: at, appendTimeMs, value, headers });
        }
        return true;
      });
      if (nextOffset === fromOffset) return;
      fromOffset = nextOffset;
    }
  }
}

type Cursor = Parameters<Parameters<LogReader['read']>[2]>[0]['cursor'];

function headersAt(cursor: Cursor): StoredHeader[] {
  const headers: StoredHeader[] = [];
  while (cursor.nextHeader()) {
    const { buffer, headerNameStart, headerNameEnd, headerValueStart, headerValueEnd } = cursor;
    headers.push({
      name: Buffer.from(buffer.subarray(headerNameStart, headerNameEnd)),
      value:
        headerValueStart < 0
          ? null
          : Buffer.from(buffer.subarray(headerValueStart, headerValueEnd)),
    });
  }
  return headers;
}
