import { OperatingError } from '@robustmq/core';

import {
  explainTopicProblem,
  topicFilterProblem,
  topicMatches,
  TopicProblem,
} from '../codec/topic.ts';

/** Each is looked at for each new topic name, and has six time series. */
const metersMax = 64;

/** What is counted of the topics that a filter matches. */
export interface TopicMeter {
  readonly filter: string;
  messagesIn: number;
  messagesOut: number;
  messagesDropped: number;
  bytesIn: number;
  bytesOut: number;
  bytesDropped: number;
}

/** Counts for topic filters that operators have asked for. */
export class TopicMeters {
  readonly all: readonly TopicMeter[];

  /** `filters` were checked. */
  constructor(filters: readonly string[]) {
    this.all = [...new Set(filters)].map((filter) => newMeter(filter));
  }

  /** Throws INVALID_ARGUMENT when they cannot be counted. */
  static check(filters: readonly string[]): void {
    if (filters.length > metersMax) {
      throw new OperatingError(
        'INVALID_ARGUMENT',
        `${filters.length} topic filters are to be counted: ${metersMax} at most`,
      );
    }
    for (const filter of filters) {
      const bytes = Buffer.from(filter);
      const problem = topicFilterProblem(bytes, 0, bytes.length);
      if (problem === TopicProblem.none) continue;
      const message = `the topic filter ${filter} ${explainTopicProblem(problem)}`;
      throw new OperatingError('INVALID_ARGUMENT', message);
    }
  }

  /** Those that count a topic; undefined: none does. To be remembered with the topic. */
  of(topic: string): readonly TopicMeter[] | undefined {
    if (this.all.length === 0) return undefined;
    const found = this.all.filter(({ filter }) => topicMatches(filter, topic));
    return found.length === 0 ? undefined : found;
  }
}

function newMeter(filter: string): TopicMeter {
  return {
    filter,
    messagesIn: 0,
    messagesOut: 0,
    messagesDropped: 0,
    bytesIn: 0,
    bytesOut: 0,
    bytesDropped: 0,
  };
}

export function meterIn(meters: readonly TopicMeter[], bytes: number): void {
  for (const meter of meters) {
    meter.messagesIn++;
    meter.bytesIn += bytes;
  }
}

export function meterOut(meters: readonly TopicMeter[], bytes: number): void {
  for (const meter of meters) {
    meter.messagesOut++;
    meter.bytesOut += bytes;
  }
}

export function meterDropped(meters: readonly TopicMeter[], bytes: number): void {
  for (const meter of meters) {
    meter.messagesDropped++;
    meter.bytesDropped += bytes;
  }
}
