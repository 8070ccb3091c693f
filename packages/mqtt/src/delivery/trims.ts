import type { Clock, Logger } from '@robustmq/core';

import { SeldomLog } from '../server/seldom-log.ts';

/** Counts the records that retention took before they were read here, by topic, and logs it now and then. */
export class Trims {
  /** Records since the start: once for each session that missed them on its own, once for all live ones. */
  readonly byTopic = new Map<string, number>();
  readonly #log: SeldomLog;

  constructor(options: { readonly clock: Clock; readonly logger: Logger }) {
    this.#log = new SeldomLog(options);
  }

  /** On all topics. */
  get records(): number {
    let records = 0;
    for (const each of this.byTopic.values()) records += each;
    return records;
  }

  /** `clientId`: whose session has missed them; absent: the live path. */
  add(topic: string, records: number, clientId?: string): void {
    this.byTopic.set(topic, (this.byTopic.get(topic) ?? 0) + records);
    const fields = clientId === undefined ? { topic } : { topic, clientId };
    const text = 'records were trimmed before they were read: retention is shorter than the lag';
    this.#log.warn(topic, records, { fields, text });
  }
}
