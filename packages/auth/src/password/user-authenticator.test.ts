import { seededRandom, silentLogger } from '@robustmq/core';
import { VirtualClock } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';

import type { Login } from '../principal.ts';
import { MemoryAccess } from '../store/memory-access.ts';
import { credentialsIdOf, type User, type UserCredentials } from '../store/user.ts';
import { newCredentials } from './new-credentials.ts';
import { PasswordVerifier } from './password-verifier.ts';
import { UserAuthenticator } from './user-authenticator.ts';

const random = seededRandom(3);
const verifier = new PasswordVerifier({
  clock: new VirtualClock(),
  random,
  scrypt: { logCost: 4, blockSize: 8, parallel: 1 },
});
/** Of "wonderland", by mosquitto_passwd. */
const oldHash =
  '$7$101$x+bTvt4g9wsdE1kl$1ANZeeawNwmdqZEnaJuhE/J2cfK7cMJFJkcoTSNVEx8aSDzWXcjZrXRzbu/DkSHyAnI58ONWX8FoBf+Zpemizg==';
const old: UserCredentials = {
  password: oldHash,
  scramSha256: undefined,
  scramSha512: undefined,
  origin: undefined,
};

function user(name: string, credentials: UserCredentials): User {
  return { name, credentials, groups: ['ops'], superuser: false };
}

function login(userName: string | undefined, password: string | undefined): Login {
  const peer = { address: '10.0.0.1', port: 1, listener: 'tcp' };
  return {
    peer,
    clientId: 'c',
    userName,
    password: password === undefined ? undefined : Buffer.from(password),
  };
}

function memberOf(users: MemoryAccess): UserAuthenticator {
  return new UserAuthenticator({ users, verifier, random, logger: silentLogger() });
}

describe('users of the store', () => {
  it('come in by their password, with their groups', async () => {
    const credentials = await newCredentials(Buffer.from('pw'), verifier, random, 4096);
    const member = memberOf(new MemoryAccess({ users: [user('alice', credentials)] }));
    expect(await member.check(login('alice', 'pw'))).toMatchObject({
      kind: 'allow',
      identity: { userName: 'alice', groups: ['ops'], credentialsId: credentialsIdOf(credentials) },
    });
    expect((await member.check(login('alice', 'no'))).kind).toBe('deny');
    expect((await member.check(login('bob', 'pw'))).kind).toBe('ignore');
    expect((await member.check(login('alice', undefined))).kind).toBe('ignore');
    expect((await member.check(login(undefined, 'pw'))).kind).toBe('ignore');
  });

  it('a user without a password comes in by none', async () => {
    const none = { ...old, password: undefined };
    const member = memberOf(new MemoryAccess({ users: [user('alice', none)] }));
    expect((await member.check(login('alice', ''))).kind).toBe('ignore');
  });

  it('that find too many waiting are told to come back', async () => {
    const full = new PasswordVerifier({
      clock: new VirtualClock(),
      random,
      atOnceMax: 1,
      waitingMax: 0,
    });
    const users = new MemoryAccess({ users: [user('alice', old)] });
    const member = new UserAuthenticator({ users, verifier: full, random, logger: silentLogger() });
    let release = (): void => {};
    void full.gate.run(() => new Promise<void>((resolve) => (release = resolve)));
    const answer = { kind: 'unavailable', busy: true };
    expect(await member.check(login('alice', 'wonderland'))).toMatchObject(answer);
    expect(await member.check(login('nobody', 'x'))).toMatchObject(answer);
    release();
  });

  it("Mosquitto's hash is replaced at the first login, and stays the same credentials", async () => {
    const users = new MemoryAccess({ users: [user('alice', old)] });
    const member = memberOf(users);
    expect((await member.check(login('alice', 'wrong'))).kind).toBe('deny');
    await member.settled();
    expect(users.users[0]?.credentials.password).toBe(oldHash);

    await Promise.all([1, 2, 3].map(() => member.check(login('alice', 'wonderland'))));
    await member.settled();
    const now = users.users[0]?.credentials;
    expect(now?.password).toMatch(/^\$scrypt\$/);
    expect(now?.scramSha256).toMatch(/^SCRAM-SHA-256\$15000:/);
    expect(now?.scramSha512).toMatch(/^SCRAM-SHA-512\$15000:/);
    expect(now && credentialsIdOf(now)).toBe(credentialsIdOf(old));
    expect((await member.check(login('alice', 'wonderland'))).kind).toBe('allow');
    expect((await member.check(login('alice', 'wrong'))).kind).toBe('deny');
  });

  it('another password set by hand is other credentials, although what it replaced is noted', async () => {
    const users = new MemoryAccess({ users: [user('alice', old)] });
    const member = memberOf(users);
    await member.check(login('alice', 'wonderland'));
    await member.settled();
    const upgraded = users.users[0]?.credentials ?? old;
    const edited = { ...upgraded, password: await verifier.make(Buffer.from('new')) };
    expect(credentialsIdOf(edited)).not.toBe(credentialsIdOf(old));
  });

  it('a hash that was replaced meanwhile is not overwritten', async () => {
    const users = new MemoryAccess({ users: [user('alice', old)] });
    const member = memberOf(users);
    await member.check(login('alice', 'wonderland'));
    const other = await newCredentials(Buffer.from('other'), verifier, random, 4096);
    users.replace({ users: [user('alice', other)] });
    await member.settled();
    expect(users.users[0]?.credentials).toEqual(other);
  });
});
