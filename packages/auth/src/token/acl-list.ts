import { z } from 'zod';

import { type AccessRule, ownRule } from '../rules/access-rule.ts';
import { placeholderProblem, withLongPlaceholders } from '../rules/placeholder.ts';
import { filterProblem } from '../rules/topic-pattern.ts';

const filter = z.string().refine((text) => {
  const plain = text.replace(/^eq /, '');
  return filterProblem(plain) === undefined && placeholderProblem(plain) === undefined;
}, 'is no topic filter');
const qos = z.union([z.literal(0), z.literal(1), z.literal(2)]);
const entry = z.object({
  permission: z.enum(['allow', 'deny']),
  action: z.enum(['publish', 'subscribe', 'all']),
  topic: filter,
  qos: z.union([qos.transform((one) => [one]), z.array(qos)]).optional(),
  retain: z.union([z.boolean(), z.literal([0, 1]).transform((bit) => bit === 1)]).optional(),
});
const whitelist = z.object({
  pub: z.array(filter).optional(),
  sub: z.array(filter).optional(),
  all: z.array(filter).optional(),
});

/** Rules that came with a token or an HTTP answer, in EMQX's forms. */
export interface AclList {
  readonly rules: readonly AccessRule[];
  /** The old form: what it does not name is denied. */
  readonly whitelist: boolean;
}

const both = ['publish', 'subscribe'] as const;
const entriesMax = 1_000;

/** Undefined: it is not well formed, and so allows nothing. Nothing at all is no rules. */
export function parseAclList(value: unknown): AclList | undefined {
  if (value === undefined || value === null) return { rules: [], whitelist: false };
  if (Array.isArray(value)) {
    const parsed = z.array(entry).max(entriesMax).safeParse(value);
    if (!parsed.success) return undefined;
    const rules = parsed.data.map(({ permission, action, topic, qos, retain }) =>
      ownRule(permission, action === 'all' ? both : [action], topic, { qos, retain }),
    );
    return { rules, whitelist: false };
  }
  const parsed = whitelist.safeParse(value);
  if (!parsed.success) return undefined;
  const { pub = [], sub = [], all = [] } = parsed.data;
  if (pub.length + sub.length + all.length > entriesMax) return undefined;
  const rules = [
    ...pub.map((topic) => ownRule('allow', ['publish'], withLongPlaceholders(topic))),
    ...sub.map((topic) => ownRule('allow', ['subscribe'], withLongPlaceholders(topic))),
    ...all.map((topic) => ownRule('allow', both, withLongPlaceholders(topic))),
  ];
  return { rules, whitelist: true };
}
