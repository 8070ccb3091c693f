import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';

import { seededRandom, silentLogger } from '@robustmq/core';
import { VirtualClock } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';

import { AccessControl } from './access-control.ts';
import type { Authenticator } from './authenticator.ts';
import { CertificateAuthenticator } from './certificate/certificate-authenticator.ts';
import type { EnhancedExchange } from './enhanced-exchange.ts';
import { FlappingGuard } from './guard/flapping-guard.ts';
import { LoginGuard } from './guard/login-guard.ts';
import { newCredentials } from './password/new-credentials.ts';
import { PasswordVerifier } from './password/password-verifier.ts';
import { UserAuthenticator } from './password/user-authenticator.ts';
import { identityOf, type Login, type PeerCertificate, type Principal } from './principal.ts';
import { ownRule } from './rules/access-rule.ts';
import { type AccessData, MemoryAccess } from './store/memory-access.ts';
import type { User } from './store/user.ts';
import { allow, deny, ignore, unavailable, type Verdict } from './verdict.ts';

const random = seededRandom(11);
const verifier = new PasswordVerifier({
  clock: new VirtualClock(),
  random,
  scrypt: { logCost: 4, blockSize: 8, parallel: 1 },
});
const both = ['publish', 'subscribe'] as const;

async function user(name: string, more: Partial<User> = {}): Promise<User> {
  const credentials = await newCredentials(Buffer.from(`pw-${name}`), verifier, random, 4096);
  return { name, credentials, groups: [], superuser: false, ...more };
}

interface Rig {
  readonly control: AccessControl;
  readonly store: MemoryAccess;
  readonly clock: VirtualClock;
}

function rig(data: Partial<AccessData> = {}, chain?: readonly Authenticator[]): Rig {
  const clock = new VirtualClock(1_700_000_000_000);
  const store = new MemoryAccess(data);
  const logger = silentLogger();
  const users = new UserAuthenticator({ users: store, verifier, random, logger });
  const control = new AccessControl({
    users: store,
    rules: store,
    bans: store,
    members: {
      chain: chain ?? [users],
      scram: ['SCRAM-SHA-256', 'SCRAM-SHA-512'],
      scramSecret: Buffer.from('secret'),
    },
    guards: {
      login: new LoginGuard(clock, { pairMax: 3, lockMs: 10_000 }),
      flapping: new FlappingGuard(clock, { endsMax: 3, lockMs: 10_000 }),
    },
    clock,
    random,
    logger,
  });
  return { control, store, clock };
}

function login(userName?: string, password?: string, more: Partial<Login> = {}): Login {
  const peer = { address: '10.0.0.1', port: 1, listener: 'tcp' };
  const own = password === undefined ? undefined : Buffer.from(password);
  return { peer, clientId: 'c1', userName, password: own, ...more };
}

function saying(name: string, verdict: Verdict): Authenticator & { asked: number } {
  const member = {
    name,
    asked: 0,
    check: () => {
      member.asked++;
      return Promise.resolve(verdict);
    },
  };
  return member;
}

async function principalOf(control: AccessControl, who: Login): Promise<Principal> {
  const result = await control.login(who);
  if (result.kind !== 'admitted') throw new Error(`${result.kind}: ${result.reason}`);
  return result.principal;
}

describe('nothing configured', () => {
  it('is open: everybody is anonymous, whatever name is given, and may do everything', async () => {
    const { control } = rig();
    expect(control.open).toBe(true);
    const principal = await principalOf(control, login('admin', 'x'));
    expect(principal.identity).toBeUndefined();
    const may = control.accessOf(principal);
    expect(may.mayPublish('a', 2, true)).toBe(true);
    expect(may.coverage('#', 0)).toBe('whole');
    expect(may.authorize('cluster-action', { kind: 'cluster' })).toBe(true);
  });

  it('is closed by the first user: what is not authenticated is refused, what no rule decides denied', async () => {
    const { control, store } = rig();
    const anonymous = await principalOf(control, login());
    store.replace({ users: [await user('alice')] });
    expect(control.open).toBe(false);
    expect(await control.login(login())).toMatchObject({ kind: 'denied', credentials: false });
    expect(await control.login(login('bob', 'x'))).toMatchObject({
      kind: 'denied',
      credentials: true,
    });
    const alice = control.accessOf(await principalOf(control, login('alice', 'pw-alice')));
    expect(alice.mayPublish('a', 0, false)).toBe(false);
    expect(await control.review(anonymous)).toMatchObject({ kind: 'ended', because: 'user' });
  });

  it('is closed by the first rule: who is anonymous is let in, and may do what rules allow', async () => {
    const { control } = rig({ rules: [ownRule('allow', both, 'open/#')] });
    const may = control.accessOf(await principalOf(control, login('admin', 'x')));
    expect(may.mayPublish('open/x', 0, false)).toBe(true);
    expect(may.mayPublish('other', 0, false)).toBe(false);
  });

  it('rules about users do not meet a name that nobody vouches for', async () => {
    const rules = [{ ...ownRule('allow', both, '#'), who: { users: ['admin'] } }];
    const { control } = rig({ rules });
    const may = control.accessOf(await principalOf(control, login('admin', 'x')));
    expect(may.mayPublish('a', 0, false)).toBe(false);
  });
});

describe('settings', () => {
  it('anonymous: allow lets in who gives nothing, not who gives something wrong', async () => {
    const settings = { anonymous: 'allow', fallback: 'deny', clientIds: 'any' } as const;
    const { control } = rig({ users: [await user('alice')], settings });
    expect((await control.login(login())).kind).toBe('admitted');
    expect((await control.login(login('alice', 'x'))).kind).toBe('denied');
    expect((await control.login(login('bob'))).kind).toBe('denied');
  });

  it('default: allow lets who logs in do everything', async () => {
    const settings = { anonymous: 'deny', fallback: 'allow', clientIds: 'any' } as const;
    const { control } = rig({ users: [await user('alice')], settings });
    const may = control.accessOf(await principalOf(control, login('alice', 'pw-alice')));
    expect(may.mayPublish('a', 0, false)).toBe(true);
  });
});

describe('client-ids: user-name', () => {
  it('refuses a client id that is not the user name, by password and by SCRAM', async () => {
    const settings = { anonymous: 'allow', fallback: 'allow', clientIds: 'user-name' } as const;
    const { control } = rig({ users: [await user('alice')], settings });
    const own = { clientId: 'alice' };
    expect((await control.login(login('alice', 'pw-alice', own))).kind).toBe('admitted');
    expect(await control.login(login('alice', 'pw-alice'))).toMatchObject({
      kind: 'denied',
      credentials: false,
    });
    expect((await control.login(login())).kind).toBe('admitted');
    const exchange = control.exchange('SCRAM-SHA-256', login());
    const step = await exchange?.step(Buffer.from('n,,n=alice,r=x'));
    expect(step).toMatchObject({ kind: 'denied', credentials: false });
    expect(control.guards.login.locked).toBe(0);
  });
});

describe('the chain', () => {
  it('ends at the first that decides', async () => {
    const first = saying('first', ignore);
    const second = saying('second', allow(identityOf('bob')));
    const third = saying('third', deny('no'));
    const { control } = rig({}, [first, second, third]);
    expect((await principalOf(control, login('x', 'y'))).identity?.userName).toBe('bob');
    expect([first.asked, second.asked, third.asked]).toEqual([1, 1, 0]);
  });

  it('a member that is unavailable lets nobody past, and it is no failed login', async () => {
    const { control } = rig({}, [
      saying('away', unavailable('away')),
      saying('second', allow(identityOf('bob'))),
    ]);
    for (let at = 0; at < 20; at++) {
      expect((await control.login(login('x', 'y'))).kind).toBe('unavailable');
    }
    expect(control.guards.login.locked).toBe(0);
  });

  it('one that throws lets nobody in', async () => {
    const broken: Authenticator = {
      name: 'broken',
      check: () => Promise.reject(new Error('the store is away')),
    };
    const { control } = rig({}, [broken]);
    expect(await control.login(login('x', 'y'))).toMatchObject({ kind: 'unavailable' });
  });

  it('can be replaced', async () => {
    const { control } = rig({}, [saying('one', deny('no'))]);
    control.replaceMembers({
      chain: [saying('two', allow(identityOf('bob')))],
      scram: [],
      scramSecret: Buffer.alloc(16),
    });
    expect((await control.login(login('x', 'y'))).kind).toBe('admitted');
    expect(control.exchange('SCRAM-SHA-256', login())).toBeUndefined();
  });
});

describe('a client certificate', () => {
  const certificate: PeerCertificate = {
    commonName: 'device-1',
    subjectAltName:
      'DirName:"CN=x, DNS:root, URI:root, z", DNS:d1.example, URI:urn:device:1, email:a@b.c',
  };
  const peer = { address: '10.0.0.1', port: 1, listener: 'tls', certificate };

  it.each([
    ['common-name', 'device-1'],
    ['dns', 'd1.example'],
    ['uri', 'urn:device:1'],
    ['email', 'a@b.c'],
  ] as const)('by its %s is %s, whatever the client says', async (part, name) => {
    const store = new MemoryAccess({ users: [await user(name, { groups: ['devices'] })] });
    const { control } = rig({}, [new CertificateAuthenticator(part, store)]);
    const principal = await principalOf(control, login('root', 'x', { peer }));
    expect(principal).toMatchObject({
      identity: { userName: name, groups: ['devices'] },
      commonName: 'device-1',
    });
  });

  it('that there is not is nobody', async () => {
    const { control } = rig({}, [new CertificateAuthenticator('common-name', new MemoryAccess())]);
    expect((await control.login(login())).kind).toBe('denied');
    const unnamed = { ...peer, certificate: { commonName: '', subjectAltName: '' } };
    expect((await control.login(login(undefined, undefined, { peer: unnamed }))).kind).toBe(
      'denied',
    );
  });
});

describe('guards', () => {
  it('who fails too often is not looked at for a while', async () => {
    const { control, clock } = rig({ users: [await user('alice')] });
    for (let at = 0; at < 3; at++) await control.login(login('alice', 'wrong'));
    expect((await control.login(login('alice', 'pw-alice'))).kind).toBe('banned');
    await clock.advance(10_001);
    expect((await control.login(login('alice', 'pw-alice'))).kind).toBe('admitted');
    expect(control.counters).toEqual({ admitted: 1, denied: 3, banned: 1, unavailable: 0 });
  });

  it('a client id that comes and goes is not let in for a while', async () => {
    const { control, clock } = rig();
    for (let at = 0; at < 3; at++) control.connectionEnded('c1');
    expect((await control.login(login())).kind).toBe('banned');
    await clock.advance(10_001);
    expect((await control.login(login())).kind).toBe('admitted');
  });

  it('bans hold also where everything is open', async () => {
    const ban = { untilMs: undefined, reason: 'r', by: 'b' };
    const { control } = rig({ bans: [{ kind: 'client-id', value: 'c1', ...ban }] });
    expect((await control.login(login())).kind).toBe('banned');
    expect((await control.login(login(undefined, undefined, { clientId: 'c2' }))).kind).toBe(
      'admitted',
    );
  });

  it('a ban of a user finds him under the name that somebody vouches for', async () => {
    const bans = [
      { kind: 'user', value: 'bob', untilMs: undefined, reason: 'r', by: 'b' },
    ] as const;
    const { control } = rig({ bans }, [saying('one', allow(identityOf('bob')))]);
    expect((await control.login(login('x', 'y'))).kind).toBe('banned');
  });
});

describe('SCRAM', () => {
  /** What a client sends and checks; resolves with what the server says in the end. */
  async function run(exchange: EnhancedExchange | undefined, name: string, password: string) {
    const bare = `n=${name},r=abc`;
    const first = await exchange?.step(Buffer.from(`n,,${bare}`));
    if (first?.kind !== 'continue') return first;
    const challenge = first.data.toString();
    const [nonce = '', salt = '', iterations = ''] = challenge
      .split(',')
      .map((part) => part.slice(2));
    const bytes = exchange?.method === 'SCRAM-SHA-512' ? 64 : 32;
    const digest = bytes === 64 ? 'sha512' : 'sha256';
    const salted = pbkdf2Sync(
      password,
      Buffer.from(salt, 'base64'),
      Number(iterations),
      bytes,
      digest,
    );
    const clientKey = createHmac(digest, salted).update('Client Key').digest();
    const signed = `${bare},${challenge},c=biws,r=${nonce}`;
    const storedKey = createHash(digest).update(clientKey).digest();
    const signature = createHmac(digest, storedKey).update(signed).digest();
    const proof = Buffer.from(clientKey.map((byte, at) => byte ^ (signature[at] ?? 0)));
    const serverKey = createHmac(digest, salted).update('Server Key').digest();
    const last = await exchange?.step(
      Buffer.from(`c=biws,r=${nonce},p=${proof.toString('base64')}`),
    );
    const expected = `v=${createHmac(digest, serverKey).update(signed).digest('base64')}`;
    return { ...last, isServerProven: last?.kind === 'admitted' && String(last.data) === expected };
  }

  it.each(['SCRAM-SHA-256', 'SCRAM-SHA-512'])(
    '%s lets a user in who knows the password',
    async (method) => {
      const { control } = rig({ users: [await user('alice', { groups: ['ops'] })] });
      expect(await run(control.exchange(method, login()), 'alice', 'pw-alice')).toMatchObject({
        kind: 'admitted',
        principal: { identity: { userName: 'alice', groups: ['ops'] } },
        isServerProven: true,
      });
      expect(await run(control.exchange(method, login()), 'alice', 'x')).toMatchObject({
        kind: 'denied',
      });
      expect(await run(control.exchange(method, login()), 'nobody', 'x')).toMatchObject({
        kind: 'denied',
      });
      expect(control.counters).toMatchObject({ admitted: 1, denied: 2 });
    },
  );

  it('asks for the first message once, if it was left out', async () => {
    const { control } = rig({ users: [await user('alice')] });
    const exchange = control.exchange('SCRAM-SHA-256', login());
    expect(await exchange?.step(undefined)).toEqual({ kind: 'continue', data: Buffer.alloc(0) });
    expect(await run(exchange, 'alice', 'pw-alice')).toMatchObject({ kind: 'admitted' });
    const other = control.exchange('SCRAM-SHA-256', login());
    await other?.step(undefined);
    expect(await other?.step(Buffer.alloc(0))).toMatchObject({ kind: 'denied' });
  });

  it('nobody learns from the challenge who is a user', async () => {
    const { control } = rig({ users: [await user('alice')] });
    const challengeOf = async (name: string): Promise<string[]> => {
      const exchange = control.exchange('SCRAM-SHA-256', login());
      const step = await exchange?.step(Buffer.from(`n,,n=${name},r=abc`));
      return step?.kind === 'continue' ? String(step.data).split(',').slice(1) : [];
    };
    const [salt = '', iterations] = await challengeOf('nobody');
    expect([salt, iterations]).toEqual(await challengeOf('nobody'));
    expect(iterations).toBe('i=15000');
    const [other = ''] = await challengeOf('alice');
    expect(salt).not.toBe(other);
    expect(salt).toHaveLength(other.length);
  });

  it('failures lock as those of passwords do, and a ban is known once the name is', async () => {
    const bans = [
      { kind: 'user', value: 'bob', untilMs: undefined, reason: 'r', by: 'b' },
    ] as const;
    const { control } = rig({ users: [await user('alice'), await user('bob')], bans });
    for (let at = 0; at < 3; at++)
      await run(control.exchange('SCRAM-SHA-256', login()), 'alice', 'x');
    const locked = await run(control.exchange('SCRAM-SHA-256', login()), 'alice', 'pw-alice');
    expect(locked).toMatchObject({ kind: 'banned' });
    const banned = await run(control.exchange('SCRAM-SHA-256', login()), 'bob', 'pw-bob');
    expect(banned).toMatchObject({ kind: 'banned' });
  });

  it('other methods are not known', () => {
    const { control } = rig();
    expect(control.exchange('SCRAM-SHA-1', login())).toBeUndefined();
    expect(control.exchange('SCRAM-SHA-256-PLUS', login())).toBeUndefined();
  });
});

describe('a connected client', () => {
  it('stays while nothing about it has changed', async () => {
    const { control } = rig({ users: [await user('alice')] });
    const principal = await principalOf(control, login('alice', 'pw-alice'));
    expect(await control.review(principal)).toEqual({ kind: 'keep', principal });
  });

  it('goes when its user is deleted, has another password, or is banned', async () => {
    const { control, store } = rig({ users: [await user('alice')] });
    const principal = await principalOf(control, login('alice', 'pw-alice'));
    store.replace({ users: [await user('alice')] });
    expect(await control.review(principal)).toMatchObject({ because: 'user' });
    store.replace({ users: [] });
    expect(await control.review(principal)).toMatchObject({ because: 'user' });
    store.replace({
      bans: [{ kind: 'address', value: '10.0.0.0/8', untilMs: undefined, reason: 'r', by: 'b' }],
    });
    expect(await control.review(principal)).toMatchObject({ because: 'ban' });
  });

  it('has the groups that its user has now', async () => {
    const alice = await user('alice');
    const rules = [{ ...ownRule('allow', both, 'ops/#'), who: { groups: ['ops'] } }];
    const { control, store } = rig({ users: [alice], rules });
    const may = control.accessOf(await principalOf(control, login('alice', 'pw-alice')));
    expect(may.mayPublish('ops/x', 0, false)).toBe(false);
    store.replace({ users: [{ ...alice, groups: ['ops'] }] });
    const review = await control.review(may.principal);
    if (review.kind === 'keep') may.replacePrincipal(review.principal);
    expect(may.mayPublish('ops/x', 0, false)).toBe(true);
  });

  it('goes when its credentials expire, by the wall clock', async () => {
    const expiresAtMs = 1_700_000_060_000;
    const { control, clock } = rig({}, [saying('one', allow(identityOf('bob', { expiresAtMs })))]);
    const principal = await principalOf(control, login('x', 'y'));
    expect((await control.review(principal)).kind).toBe('keep');
    clock.jumpWall(60_000);
    expect(await control.review(principal)).toMatchObject({ because: 'expiry' });
  });

  it('what it may do follows the rules, and who listens is told', async () => {
    const { control, store } = rig({ rules: [ownRule('allow', both, 'a')] });
    let told = 0;
    const unwatch = control.onChange(() => told++);
    const may = control.accessOf(await principalOf(control, login()));
    expect(may.mayPublish('a', 0, false)).toBe(true);
    const { version } = may;
    store.replace({ rules: [ownRule('allow', both, 'b')] });
    expect(told).toBe(1);
    expect(may.version).toBeGreaterThan(version);
    expect(may.mayPublish('a', 0, false)).toBe(false);
    unwatch();
    store.replace({ rules: [] });
    expect(told).toBe(1);
  });
});
