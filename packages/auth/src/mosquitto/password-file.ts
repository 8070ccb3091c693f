import { OperatingError } from '@robustmq/core';

import { parsePasswordHash } from '../password/password-hash.ts';
import type { User } from '../store/user.ts';

/**
 * The users of a Mosquitto password file, with the hashes that stand there: `$6$` and `$7$`. Throws
 * INVALID_ARGUMENT that names the line.
 */
export function parseMosquittoPasswords(text: string): User[] {
  const users = new Map<string, User>();
  for (const [at, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const end = line.indexOf(':');
    if (end < 1) throw invalid(at + 1, 'is not "user name:hash"');
    const name = line.slice(0, end);
    if (users.has(name)) throw invalid(at + 1, `names user ${JSON.stringify(name)} again`);
    users.set(name, userOf(name, line.slice(end + 1), at + 1));
  }
  return [...users.values()];
}

function userOf(name: string, password: string, line: number): User {
  if (!password.startsWith('$')) {
    throw invalid(line, 'has a password that is not hashed; "mosquitto_passwd -U FILE" hashes it');
  }
  try {
    parsePasswordHash(password);
  } catch (thrown) {
    throw invalid(line, thrown instanceof Error ? thrown.message : String(thrown));
  }
  const none = { scramSha256: undefined, scramSha512: undefined, origin: undefined };
  return { name, groups: [], superuser: false, credentials: { password, ...none } };
}

function invalid(line: number, what: string): OperatingError {
  return new OperatingError('INVALID_ARGUMENT', `Mosquitto password file, line ${line}: ${what}`);
}
