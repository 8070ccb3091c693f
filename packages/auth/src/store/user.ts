import { createHash } from 'node:crypto';

/** What a user proves himself with. Texts as they are stored. */
export interface UserCredentials {
  /** See `parsePasswordHash`. */
  readonly password: string | undefined;
  /** See `parseScramKeys`. */
  readonly scramSha256: string | undefined;
  readonly scramSha512: string | undefined;
  /** Says which credentials these have replaced without being others: an upgraded hash. */
  readonly origin: string | undefined;
}

/** One user for all protocols. */
export interface User {
  readonly name: string;
  readonly credentials: UserCredentials;
  readonly groups: readonly string[];
  readonly superuser: boolean;
}

/** Stays while the secret stays, also when its hash is upgraded; tells nothing about it. */
export function credentialsIdOf(credentials: UserCredentials): string {
  const own = digestOf(credentials);
  const [before, after] = credentials.origin?.split('.') ?? [];
  return before !== undefined && after === own ? before : own;
}

/** The credentials `after`, which are `before` hashed better. */
export function upgraded(before: UserCredentials, after: UserCredentials): UserCredentials {
  return { ...after, origin: `${credentialsIdOf(before)}.${digestOf(after)}` };
}

function digestOf({ password, scramSha256, scramSha512 }: UserCredentials): string {
  // SCRAM keys are made from the password: where there is one, it says everything.
  const text = password ?? `${scramSha256 ?? ''} ${scramSha512 ?? ''}`;
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}
