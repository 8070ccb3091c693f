import { OperatingError } from '@robustmq/core';
import { RE2JS } from 're2js';

import {
  explainTopicProblem,
  parseSharedFilter,
  topicFilterProblem,
  topicMatches,
  topicNameProblem,
  TopicProblem,
} from '../codec/topic.ts';
import type { TopicOwner } from './topic-owner.ts';
import { TopicTemplate } from './topic-template.ts';

/** How topics of clients are changed (DESIGN.md, "Topics that operators change"). */
export interface RewriteRule {
  readonly action: 'publish' | 'subscribe' | 'all';
  /** Topic filter that a topic has to match first. */
  readonly source: string;
  /** Regular expression of RE2, found anywhere in the topic unless it says otherwise. */
  readonly expression: string;
  /** With `$1` to `$99` for its groups, `%c` for the client id and `%u` for the user. */
  readonly destination: string;
}

interface CompiledRule {
  readonly action: RewriteRule['action'];
  readonly source: string;
  readonly expression: RE2JS;
  readonly destination: TopicTemplate;
}

/** Longer topics are looked at each time: what is remembered stays bounded in bytes. */
const rememberedLengthMax = 512;

/** Changes topics by rules. */
export class TopicRewriter {
  readonly #publish: RewriteTable;
  readonly #subscribe: RewriteTable;

  /** Throws INVALID_ARGUMENT that says what is wrong with which rule. */
  constructor(rules: readonly RewriteRule[], rememberedMax: number) {
    const compiled = rules.map((rule, index) => compile(rule, index));
    const of = (action: RewriteRule['action']): CompiledRule[] =>
      compiled.filter((rule) => rule.action === action || rule.action === 'all').toReversed();
    this.#publish = new RewriteTable(of('publish'), rememberedMax);
    this.#subscribe = new RewriteTable(of('subscribe'), rememberedMax);
  }

  /** The topic name that a publish goes to; undefined: it cannot be made for that client. */
  name(topic: string, owner: TopicOwner): string | undefined {
    const changed = this.#publish.rewrite(topic, owner);
    if (changed === undefined || changed === topic) return changed;
    const bytes = Buffer.from(changed);
    return topicNameProblem(bytes, 0, bytes.length) === TopicProblem.none ? changed : undefined;
  }

  /** The filter that is subscribed to; undefined: it cannot be made for that client. */
  filter(filter: string, owner: TopicOwner): string | undefined {
    const shared = parseSharedFilter(filter);
    const inner = shared?.filter ?? filter;
    const changed = this.#subscribe.rewrite(inner, owner);
    if (changed === undefined || changed === inner) return changed === undefined ? changed : filter;
    const bytes = Buffer.from(changed);
    const isWrong = topicFilterProblem(bytes, 0, bytes.length) !== TopicProblem.none;
    if (isWrong || changed.startsWith('$share/')) return undefined;
    return shared === undefined ? changed : `$share/${shared.group}/${changed}`;
  }
}

/** The rules for one action, that which counts most first. */
class RewriteTable {
  readonly #rules: readonly CompiledRule[];
  readonly #rememberedMax: number;
  /** Undefined: the topic stays. */
  #remembered = new Map<string, TopicTemplate | undefined>();

  constructor(rules: readonly CompiledRule[], rememberedMax: number) {
    this.#rules = rules;
    this.#rememberedMax = rememberedMax;
  }

  rewrite(topic: string, owner: TopicOwner): string | undefined {
    const destination = this.#destination(topic);
    return destination === undefined ? topic : destination.render(owner);
  }

  #destination(topic: string): TopicTemplate | undefined {
    const known = this.#remembered.get(topic);
    if (known !== undefined || this.#remembered.has(topic)) return known;
    const destination = this.#find(topic);
    if (topic.length > rememberedLengthMax) return destination;
    if (this.#remembered.size >= this.#rememberedMax) this.#remembered = new Map();
    this.#remembered.set(topic, destination);
    return destination;
  }

  #find(topic: string): TopicTemplate | undefined {
    const rule = this.#rules.find(({ source }) => topicMatches(source, topic));
    const matcher = rule?.expression.matcher(topic);
    if (rule === undefined || matcher?.find() !== true) return undefined;
    const groups = Array.from(
      { length: matcher.groupCount() + 1 },
      (_, group) => matcher.group(group) ?? '',
    );
    return rule.destination.withGroups(groups);
  }
}

function compile(rule: RewriteRule, index: number): CompiledRule {
  const { action, source } = rule;
  try {
    const bytes = Buffer.from(source);
    const problem = topicFilterProblem(bytes, 0, bytes.length);
    if (problem !== TopicProblem.none) {
      throw new Error(`the source ${source} ${explainTopicProblem(problem)}`);
    }
    if (parseSharedFilter(source) !== undefined) {
      throw new Error(`the source ${source} begins with $share/: leave that out`);
    }
    if (rule.destination === '') throw new Error('the destination is empty');
    const expression = RE2JS.compile(rule.expression);
    const destination = TopicTemplate.parse(rule.destination, expression.groupCount());
    return { action, source, expression, destination };
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    throw new OperatingError('INVALID_ARGUMENT', `rewrite rule ${index + 1}: ${reason}`);
  }
}
