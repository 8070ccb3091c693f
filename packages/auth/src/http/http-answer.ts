import { z } from 'zod';

import { identityOf } from '../principal.ts';
import { parseAclList } from '../token/acl-list.ts';
import { allow, deny, ignore, unavailable, type Verdict } from '../verdict.ts';
import type { Fetched } from './bounded-fetch.ts';

const body = z.object({
  result: z.enum(['allow', 'deny', 'ignore']),
  is_superuser: z.boolean().optional(),
  /** Seconds since 1970. */
  expire_at: z.number().positive().optional(),
  username: z.string().min(1).optional(),
  groups: z.array(z.string()).optional(),
  acl: z.unknown().optional(),
});

/**
 * What the service's answer means for the user `userName`, who may be named by the answer instead. Whatever is
 * not understood is no answer.
 */
export function verdictOf(answer: Fetched, userName: string | undefined): Verdict {
  if (answer.status === 204) return named(userName, (name) => allow(identityOf(name)));
  if (answer.status !== 200) return unavailable(`the HTTP service answers ${answer.status}`);
  const parsed = body.safeParse(jsonOf(answer.text));
  if (!parsed.success) return unavailable('the HTTP service answers what is no result');
  const { result, is_superuser: superuser = false, expire_at: expiry, groups = [] } = parsed.data;
  if (result === 'ignore') return ignore;
  if (result === 'deny') return deny('the HTTP service says no');
  const acl = parseAclList(parsed.data.acl);
  if (acl === undefined) return unavailable('the HTTP service answers an acl that is none');
  const expiresAtMs = expiry === undefined ? undefined : expiry * 1000;
  return named(parsed.data.username ?? userName, (name) =>
    allow(identityOf(name, { groups, superuser, expiresAtMs, ...acl })),
  );
}

function named(userName: string | undefined, verdict: (name: string) => Verdict): Verdict {
  return userName === undefined
    ? deny('the HTTP service allows nobody by name')
    : verdict(userName);
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
