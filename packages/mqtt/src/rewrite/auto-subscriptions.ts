import { OperatingError } from '@robustmq/core';

import type { Qos, SubscriptionRequest } from '../codec/packet.ts';
import { explainTopicProblem, topicFilterProblem, TopicProblem } from '../codec/topic.ts';
import type { TopicOwner } from './topic-owner.ts';
import { TopicTemplate } from './topic-template.ts';

/** A subscription that each client gets when it connects. */
export interface AutoSubscription {
  /** With `%c` for the client id and `%u` for the user. */
  readonly filter: string;
  readonly qos: Qos;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: 0 | 1 | 2;
}

/** Subscriptions that clients get without asking. */
export class AutoSubscriptions {
  readonly #all: readonly { readonly filter: TopicTemplate; readonly asked: AutoSubscription }[];

  /** Throws INVALID_ARGUMENT that says what is wrong with which. */
  constructor(all: readonly AutoSubscription[]) {
    this.#all = all.map((asked, index) => {
      const filter = TopicTemplate.parse(asked.filter);
      const sample = Buffer.from(filter.render({ clientId: 'c', user: 'u' }) ?? '');
      const problem = topicFilterProblem(sample, 0, sample.length);
      if (problem === TopicProblem.none) return { filter, asked };
      throw new OperatingError(
        'INVALID_ARGUMENT',
        `automatic subscription ${index + 1}: the filter ${asked.filter} ${explainTopicProblem(problem)}`,
      );
    });
  }

  get size(): number {
    return this.#all.length;
  }

  /** What a client is subscribed to; `leftOut` is told of filters that cannot be made for it. */
  of(owner: TopicOwner, leftOut: (filter: string) => void): SubscriptionRequest[] {
    return this.#all.flatMap(({ filter: template, asked }) => {
      const filter = template.render(owner);
      if (filter !== undefined) return [{ ...asked, filter }];
      leftOut(asked.filter);
      return [];
    });
  }
}
