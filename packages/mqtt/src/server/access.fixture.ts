import {
  AccessControl,
  type AccessData,
  type Authenticator,
  FlappingGuard,
  LoginGuard,
  MemoryAccess,
  newCredentials,
  PasswordVerifier,
  scramMechanisms,
  type User,
  UserAuthenticator,
} from '@robustmq/auth';
import { type Clock, seededRandom, silentLogger, systemClock } from '@robustmq/core';

const random = seededRandom(21);
const scrypt = { logCost: 4, blockSize: 8, parallel: 1 };
const verifier = new PasswordVerifier({ clock: systemClock(), random, scrypt });

/** A user whose password is `pw-{name}`. */
export async function userNamed(name: string, more: Partial<User> = {}): Promise<User> {
  const credentials = await newCredentials(Buffer.from(`pw-${name}`), verifier, random, 4096);
  return { name, credentials, groups: [], superuser: false, ...more };
}

/** Access control over a store in memory. */
export function accessOver(
  data: Partial<AccessData>,
  own: { clock?: Clock; chain?: readonly Authenticator[]; endsMax?: number } = {},
): { control: AccessControl; store: MemoryAccess } {
  const { clock = systemClock(), endsMax } = own;
  const store = new MemoryAccess(data);
  const logger = silentLogger();
  const users = new UserAuthenticator({ users: store, verifier, random, logger });
  const control = new AccessControl({
    users: store,
    rules: store,
    bans: store,
    members: { chain: own.chain ?? [users], scram: scramMechanisms, scramSecret: Buffer.alloc(32) },
    guards: {
      login: new LoginGuard(clock, { pairMax: 3 }),
      flapping: endsMax === undefined ? undefined : new FlappingGuard(clock, { endsMax }),
    },
    clock,
    random,
    logger,
  });
  return { control, store };
}
