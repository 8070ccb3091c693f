import { toOperatingError } from '@robustmq/core';
import { AutoSubscriptions, TopicRewriter } from '@robustmq/mqtt';
import { z } from 'zod';

import type { OptionRow } from '../option-row.ts';

const roles = ['start', 'broker'] as const;

const rewriteRule = z
  .strictObject({
    action: z
      .enum(['publish', 'subscribe', 'all'], 'must be publish, subscribe or all')
      .default('all'),
    source: z.string('must be a topic filter'),
    regex: z.string('must be a regular expression'),
    destination: z.string('must be a topic, perhaps with $1, %c or %u'),
  })
  .transform(({ regex, ...rule }) => ({ ...rule, expression: regex }));

const zeroToTwo = z.union([z.literal(0), z.literal(1), z.literal(2)], 'must be 0, 1 or 2');

const autoSubscription = z
  .strictObject({
    filter: z.string('must be a topic filter, perhaps with %c or %u'),
    qos: zeroToTwo.default(0),
    'no-local': z.boolean('must be true or false').default(false),
    'retain-as-published': z.boolean('must be true or false').default(false),
    'retain-handling': zeroToTwo.default(0),
  })
  .transform(({ filter, qos, ...rest }) => ({
    filter,
    qos,
    noLocal: rest['no-local'],
    retainAsPublished: rest['retain-as-published'],
    retainHandling: rest['retain-handling'],
  }));

/** A list in the file, or its JSON in a flag. `check` throws when the entries do not go together. */
function listOf<Entry extends z.ZodType>(
  entry: Entry,
  check: (list: readonly z.output<Entry>[]) => unknown,
): z.ZodType<readonly z.output<Entry>[]> {
  return z.unknown().transform((given, context) => {
    const refuse = (message: string): typeof z.NEVER => {
      context.addIssue({ code: 'custom', message });
      return z.NEVER;
    };
    const raw = typeof given === 'string' ? parsedJson(given) : given;
    if (!Array.isArray(raw)) return refuse('must be a list (as a flag: in JSON)');
    const list: z.output<Entry>[] = [];
    for (const [index, one] of raw.entries()) {
      const parsed = entry.safeParse(one);
      if (!parsed.success) return refuse(`entry ${index + 1}: ${words(parsed.error)}`);
      list.push(parsed.data);
    }
    try {
      check(list);
    } catch (thrown) {
      return refuse(toOperatingError(thrown).message);
    }
    return list;
  });
}

function words(error: z.ZodError): string {
  const [issue] = error.issues;
  const at = issue?.path.join('.') ?? '';
  return at === '' ? (issue?.message ?? '') : `${at}: ${issue?.message ?? ''}`;
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Whoever asks says what it should be.
    return undefined;
  }
}

/** Options that change the topics of clients. */
export const topicRuleOptionTable = {
  'mqtt-rewrite-rules': {
    roles,
    value: 'JSON',
    schema: listOf(rewriteRule, (rules) => new TopicRewriter(rules, 0)),
    help:
      'how topics of clients are changed, a list in the file: action, source, regex, destination ' +
      '(docs/operations.md)',
  },
  'mqtt-auto-subscriptions': {
    roles,
    value: 'JSON',
    schema: listOf(autoSubscription, (list) => new AutoSubscriptions(list)),
    help:
      'what each client is subscribed to when it connects, a list in the file: filter, qos, no-local, ' +
      'retain-as-published, retain-handling',
  },
} as const satisfies Record<string, OptionRow>;
