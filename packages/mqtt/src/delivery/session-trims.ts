import type { ShardId } from '@robustmq/core';

import type { TrimmedRecords } from '../session/session-gateway.ts';
import type { LiveReaders } from './live-readers.ts';

/** What retention took before one session had read it: counted for the broker, and kept with the session. */
export class SessionTrims {
  readonly #clientId: string;
  readonly #readers: LiveReaders;
  #sum: TrimmedRecords | undefined;

  /** `before`: what earlier connections have missed. */
  constructor(clientId: string, readers: LiveReaders, before: TrimmedRecords | undefined) {
    this.#clientId = clientId;
    this.#readers = readers;
    this.#sum = before;
  }

  /** Undefined: none. */
  get sum(): TrimmedRecords | undefined {
    return this.#sum;
  }

  /** The session alone has missed them. */
  own(shardId: ShardId, records: number): void {
    const topic = this.#readers.topicOf(shardId);
    // The topic is deleted.
    if (topic === undefined) return;
    this.#readers.trims.add(topic, records, this.#clientId);
    this.#keep(topic, records);
  }

  /** All live sessions have missed them; they are counted already. */
  shared(shardId: ShardId, records: number): void {
    this.#keep(this.#readers.topicOf(shardId) ?? '', records);
  }

  #keep(topic: string, records: number): void {
    const before = this.#sum?.records ?? 0;
    this.#sum = { records: before + records, topic, atMs: this.#readers.wallMs };
  }
}
