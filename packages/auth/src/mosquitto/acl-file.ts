import { OperatingError } from '@robustmq/core';

import type { AccessRule, Operation, Who } from '../rules/access-rule.ts';
import { withLongPlaceholders } from '../rules/placeholder.ts';
import { filterProblem } from '../rules/topic-pattern.ts';

const accesses = {
  read: ['subscribe'],
  write: ['publish'],
  readwrite: ['publish', 'subscribe'],
  deny: ['publish', 'subscribe'],
} as const satisfies Record<string, readonly Operation[]>;

type Access = keyof typeof accesses;

const everybody: Who = {};

/**
 * The rules of a Mosquitto ACL file. What stands before the first `user` is for clients without a user name,
 * `pattern` is for everybody. Throws INVALID_ARGUMENT that names the line.
 *
 * Two things differ from Mosquitto: a deny wins over every allow, also one of `user` over one of `pattern`; and
 * a SUBSCRIBE that no rule covers is refused instead of granted and then given nothing.
 */
export function parseMosquittoAcl(text: string): AccessRule[] {
  const rules: AccessRule[] = [];
  let own: Who = { anonymous: true };
  for (const [at, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const [word = ''] = line.split(/\s/, 1);
    const rest = line.slice(word.length).trim();
    switch (word) {
      case 'user':
        if (rest === '') throw invalid(at, 'names no user');
        own = { users: [rest] };
        break;
      case 'topic':
        rules.push(ruleOf(at, rest, own));
        break;
      case 'pattern':
        rules.push(ruleOf(at, rest, everybody));
        break;
      default:
        throw invalid(at, `begins with ${JSON.stringify(word)}, not with user, topic or pattern`);
    }
  }
  return rules;
}

function ruleOf(at: number, rest: string, who: Who): AccessRule {
  const [first = ''] = rest.split(/\s/, 1);
  const behind = rest.slice(first.length).trim();
  // A topic alone may be called like an access; what follows an access may have blanks in it.
  const [word, topic] = behind === '' ? ['readwrite', first] : [first, behind];
  if (!isAccess(word)) {
    throw invalid(
      at,
      `has ${JSON.stringify(word)}, which is none of ${Object.keys(accesses).join(', ')}`,
    );
  }
  const isPattern = who === everybody;
  if (!isPattern && /%[uc]/.test(topic)) {
    // Mosquitto takes it as it stands there, which nobody means.
    throw invalid(
      at,
      'has %u or %c in a topic line; they stand for something in pattern lines only',
    );
  }
  const filter = isPattern ? withLongPlaceholders(topic) : topic;
  const problem = filterProblem(filter);
  if (problem !== undefined) throw invalid(at, `has ${JSON.stringify(topic)}: ${problem}`);
  return {
    effect: word === 'deny' ? 'deny' : 'allow',
    who,
    operations: accesses[word],
    resources: [{ kind: 'mqtt', filter, exact: false }],
  };
}

function isAccess(word: string): word is Access {
  return Object.hasOwn(accesses, word);
}

function invalid(at: number, what: string): OperatingError {
  return new OperatingError('INVALID_ARGUMENT', `Mosquitto ACL file, line ${at + 1}: ${what}`);
}
