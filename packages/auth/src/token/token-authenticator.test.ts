import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';

import { VirtualClock } from '@robustmq/testkit';
import { type JWTPayload, SignJWT } from 'jose';
import { describe, expect, it } from 'vitest';

import type { Login } from '../principal.ts';
import type { Verdict } from '../verdict.ts';
import { TokenAuthenticator, type TokenAuthenticatorOptions } from './token-authenticator.ts';
import { parseKeySet, parsePublicKeys, PublicKeys, SecretKeys } from './token-keys.ts';

const clock = new VirtualClock(1_700_000_000_000);
const now = 1_700_000_000;
const secret = Buffer.from('0123456789abcdef0123456789abcdef');
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const curve = generateKeyPairSync('ec', { namedCurve: 'P-256' });

function pemOf(key: KeyObject): string {
  return String(key.export({ type: 'spki', format: 'pem' }));
}

function login(token: string | undefined, more: Partial<Login> = {}): Login {
  const peer = { address: '10.0.0.1', port: 1, listener: 'tcp' };
  const password = token === undefined ? undefined : Buffer.from(token);
  return { peer, clientId: 'c1', userName: 'alice', password, ...more };
}

function sign(
  claims: Readonly<Record<string, unknown>>,
  {
    key = secret,
    alg = 'HS256',
    kid,
  }: { key?: Buffer | KeyObject; alg?: string; kid?: string } = {},
): Promise<string> {
  const header = { alg, ...(kid !== undefined && { kid }) };
  // What is undefined is left out.
  const payload: JWTPayload = JSON.parse(
    JSON.stringify({ sub: 'alice', exp: now + 100, ...claims }),
  );
  return new SignJWT(payload).setProtectedHeader(header).sign(key);
}

function member(options: Partial<TokenAuthenticatorOptions> = {}): TokenAuthenticator {
  return new TokenAuthenticator({ keys: new SecretKeys([secret]), clock, ...options });
}

async function check(
  token: string | undefined,
  options: Partial<TokenAuthenticatorOptions> = {},
  more: Partial<Login> = {},
): Promise<Verdict> {
  return member(options).check(login(token, more));
}

describe('a token', () => {
  it('is its subject, whatever the client says', async () => {
    const verdict = await check(await sign({ sub: 'bob' }), {}, { userName: 'root' });
    expect(verdict).toMatchObject({ kind: 'allow', identity: { userName: 'bob' } });
  });

  it('brings groups, rules and an end', async () => {
    const acl = [{ permission: 'allow', action: 'publish', topic: 't/${clientid}', qos: [0, 1] }];
    const verdict = await check(await sign({ groups: ['ops'], acl, exp: now + 100 }));
    expect(verdict).toMatchObject({
      kind: 'allow',
      identity: {
        groups: ['ops'],
        superuser: false,
        rules: [{ effect: 'allow', operations: ['publish'], qos: [0, 1] }],
        // The clocks may be 30 s apart.
        expiresAtMs: (now + 130) * 1000,
      },
    });
  });

  it("an acl in EMQX's old form is a whitelist", async () => {
    const verdict = await check(await sign({ acl: { pub: ['a/%c'], all: ['b'] } }));
    expect(verdict).toMatchObject({ identity: { whitelist: true, rules: [{}, {}] } });
  });

  it('makes a superuser only by the claim that is configured', async () => {
    const token = await sign({ superuser: true });
    expect(await check(token)).toMatchObject({ identity: { superuser: false } });
    const verdict = await check(token, { superuserClaim: 'superuser' });
    expect(verdict).toMatchObject({ identity: { superuser: true } });
  });

  it.each([
    ['has expired', { exp: now - 31 }],
    ['has no end', { exp: undefined }],
    ['is not valid yet', { nbf: now + 31 }],
    ['has no subject', { sub: undefined }],
    ['has an empty subject', { sub: '' }],
    [
      'has an acl that is none',
      { acl: [{ permission: 'allow', action: 'publish', topic: 'a/#/b' }] },
    ],
    ['has an acl of another type', { acl: 'all' }],
    ['has groups that are no list', { groups: 'ops' }],
  ])('that %s is denied', async (_why, claims) => {
    expect((await check(await sign(claims))).kind).toBe('deny');
  });

  it('within 30 s of its time is taken', async () => {
    expect((await check(await sign({ exp: now - 29 }))).kind).toBe('allow');
    expect((await check(await sign({ nbf: now + 29 }))).kind).toBe('allow');
  });

  it('issuer, audience and claims are checked when they are given', async () => {
    const options = { issuer: ['i'], audience: ['a'], claims: { device: '${clientid}' } };
    const right = { iss: 'i', aud: ['a', 'b'], device: 'c1' };
    expect((await check(await sign(right), options)).kind).toBe('allow');
    for (const wrong of [{ iss: 'x' }, { aud: 'x' }, { device: 'c2' }, { device: undefined }]) {
      expect((await check(await sign({ ...right, ...wrong }), options)).kind).toBe('deny');
    }
  });

  it('can stand in the user name', async () => {
    const userName = await sign({ sub: 'bob' });
    const verdict = await check(undefined, { from: 'username' }, { userName });
    expect(verdict).toMatchObject({ kind: 'allow', identity: { userName: 'bob' } });
  });

  it.each(['password', 'a.b.c', 'a.b', '', 'eyJ4IjoxfQ.e30.x'])(
    '%j is no token: others are asked',
    async (text) => {
      expect((await check(text)).kind).toBe('ignore');
    },
  );

  it('no password at all is no token', async () => {
    expect((await check(undefined)).kind).toBe('ignore');
  });
});

describe('keys of tokens', () => {
  it('several secrets are tried while one replaces another', async () => {
    const next = Buffer.from('fedcba9876543210fedcba9876543210');
    const keys = new SecretKeys([next, secret]);
    expect((await check(await sign({}), { keys })).kind).toBe('allow');
    expect((await check(await sign({}, { key: next }), { keys })).kind).toBe('allow');
    const other = Buffer.alloc(32, 1);
    expect((await check(await sign({}, { key: other }), { keys })).kind).toBe('deny');
  });

  it('a short secret is refused', () => {
    expect(() => new SecretKeys([Buffer.from('short')])).toThrow('at least 32');
  });

  it('public keys in PEM, of several kinds', async () => {
    const keys = new PublicKeys(parsePublicKeys([pemOf(rsa.publicKey), pemOf(curve.publicKey)]));
    const byRsa = await sign({}, { key: rsa.privateKey, alg: 'RS256' });
    const byCurve = await sign({}, { key: curve.privateKey, alg: 'ES256' });
    expect((await check(byRsa, { keys })).kind).toBe('allow');
    expect((await check(byCurve, { keys })).kind).toBe('allow');
    const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const forged = await sign({}, { key: stranger.privateKey, alg: 'RS256' });
    expect((await check(forged, { keys })).kind).toBe('deny');
  });

  it('a public key is no HMAC secret', async () => {
    const pem = pemOf(rsa.publicKey);
    const keys = new PublicKeys(parsePublicKeys([pem]));
    const forged = await sign({}, { key: Buffer.from(pem), alg: 'HS256' });
    expect((await check(forged, { keys })).kind).toBe('deny');
  });

  it('no signature is no token that is taken', async () => {
    const part = (value: object): string =>
      Buffer.from(JSON.stringify(value)).toString('base64url');
    const none = `${part({ alg: 'none' })}.${part({ sub: 'alice', exp: now + 100 })}.`;
    expect((await check(none)).kind).toBe('deny');
  });

  it('a JWKS finds them by name; symmetric ones in it count for nothing', async () => {
    const jwk = createPublicKey(pemOf(curve.publicKey)).export({ format: 'jwk' });
    const symmetric = { kty: 'oct', k: secret.toString('base64url'), kid: 's' };
    const text = JSON.stringify({ keys: [{ ...jwk, kid: 'one' }, symmetric] });
    const keys = new PublicKeys(parseKeySet(text));
    const known = await sign({}, { key: curve.privateKey, alg: 'ES256', kid: 'one' });
    const unknown = await sign({}, { key: curve.privateKey, alg: 'ES256', kid: 'two' });
    const byOct = await sign({}, { kid: 's' });
    expect((await check(known, { keys })).kind).toBe('allow');
    expect(await check(unknown, { keys })).toMatchObject({
      kind: 'deny',
      reason: 'a token by an unknown key',
    });
    expect((await check(byOct, { keys })).kind).toBe('deny');
  });

  it.each(['x', '{}', '{"keys":[]}', '{"keys":[{}]}'])('%j is no JWKS', (text) => {
    expect(() => parseKeySet(text)).toThrow('JWKS');
  });

  it('what is no public key in PEM is refused', () => {
    expect(() => parsePublicKeys(['x'])).toThrow('PEM');
    const wrong = '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----';
    expect(() => parsePublicKeys([wrong])).toThrow('no public key');
  });
});
