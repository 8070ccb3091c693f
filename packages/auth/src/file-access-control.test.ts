import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { type Logger, seededRandom, silentLogger } from '@robustmq/core';
import { VirtualClock } from '@robustmq/testkit';
import { SignJWT } from 'jose';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { FileAccessControl } from './file-access-control.ts';
import type { Login } from './principal.ts';
import { nodeTextFiles } from './store/node-text-files.ts';

/** Of "wonderland", by mosquitto_passwd. */
const hash =
  '$7$101$x+bTvt4g9wsdE1kl$1ANZeeawNwmdqZEnaJuhE/J2cfK7cMJFJkcoTSNVEx8aSDzWXcjZrXRzbu/DkSHyAnI58ONWX8FoBf+Zpemizg==';
const alice = `
# our only user
users:
  - name: alice # the first one
    password: ${hash}
`;
const secret = Buffer.alloc(32, 7);

function login(password: string): Login {
  const peer = { address: '10.0.0.1', port: 1, listener: 'tcp' };
  return { peer, clientId: 'c1', userName: 'alice', password: Buffer.from(password) };
}

describe('access control by a file', () => {
  let folder: string;
  let path: string;
  let clock: VirtualClock;
  const errors: string[] = [];
  const logger: Logger = {
    ...silentLogger(),
    error: (fields) => errors.push(JSON.stringify(fields)),
  };

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'access-'));
    path = join(folder, 'access.yaml');
    clock = new VirtualClock(1_700_000_000_000);
    errors.length = 0;
  });
  afterEach(() => rm(folder, { recursive: true }));

  async function open(text: string, at = path): Promise<FileAccessControl> {
    await writeFile(at, text);
    return FileAccessControl.open({
      path: at,
      files: nodeTextFiles(),
      fetch: () => Promise.reject(new Error('nobody is asked')),
      clock,
      random: seededRandom(5),
      logger,
    });
  }

  it('is not opened if it is wrong: the message names file and line', async () => {
    await expect(open('users:\n  - nam: x')).rejects.toThrow(`access file ${path}: line 2:`);
    await expect(
      open('', join(folder, 'no', 'file')).catch((thrown: unknown) => {
        throw thrown;
      }),
    ).rejects.toThrow('ENOENT');
  });

  it('is taken up again when it has changed', async () => {
    await using file = await open('');
    expect(file.control.open).toBe(true);
    await writeFile(path, alice);
    await file.look();
    expect(file.control.open).toBe(false);
    expect((await file.control.login(login('wonderland'))).kind).toBe('admitted');
  });

  it('that is wrong or gone leaves what was in force, and says so', async () => {
    await using file = await open(alice);
    await writeFile(path, `${alice}\nbroken`);
    await file.look();
    expect(file.isStale).toBe(true);
    expect(errors.join()).toContain('line');
    await rm(path);
    await file.look();
    expect((await file.control.login(login('wonderland'))).kind).toBe('admitted');
    await writeFile(path, `${alice}anonymous: allow\n`);
    await file.look();
    expect(file.isStale).toBe(false);
  });

  /** Lets time pass until the file has new hashes in it. */
  async function rewritten(at: string): Promise<string> {
    for (;;) {
      const text = await readFile(at, 'utf8');
      if (text.includes('$scrypt$')) return text;
      await clock.advance(1_000);
    }
  }

  it('gets better hashes at the first login, and keeps its comments', async () => {
    await using file = await open(alice);
    const result = await file.control.login(login('wonderland'));
    if (result.kind !== 'admitted') throw new Error(result.reason);
    const text = await rewritten(path);
    expect(text).toContain('# our only user');
    expect(text).toContain('# the first one');
    expect(text).toContain('scram-sha-256: SCRAM-SHA-256$15000:');
    // Nobody who is connected has to be looked at for it.
    let told = 0;
    file.control.onChange(() => told++);
    await file.look();
    expect(told).toBe(0);
    expect(file.isStale).toBe(false);
    // It is the same password.
    expect((await file.control.review(result.principal)).kind).toBe('keep');
    expect((await file.control.login(login('wonderland'))).kind).toBe('admitted');
    expect((await file.control.login(login('x'))).kind).toBe('denied');
  });

  it('another password that is set before the better hash is written stays', async () => {
    await using file = await open(alice);
    await file.control.login(login('wonderland'));
    const other =
      '$scrypt$ln=4,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';
    const edited = alice.replace(hash, other);
    await writeFile(path, edited);
    await clock.advance(30_000);
    await file.look();
    expect(await readFile(path, 'utf8')).toBe(edited);
    expect((await file.control.login(login('wonderland'))).kind).toBe('denied');
  });

  it('stays JSON if it is called so', async () => {
    const json = join(folder, 'access.json');
    const users = [{ name: 'alice', password: hash }];
    await using file = await open(JSON.stringify({ users }), json);
    await file.control.login(login('wonderland'));
    const text = await rewritten(json);
    expect(JSON.parse(text)).toMatchObject({ users: [{ name: 'alice' }] });
  });

  it('names secrets of tokens, which are taken up when they have changed, too', async () => {
    await writeFile(join(folder, 'secret'), `${String(secret)}\n`);
    await using file = await open('token: { secret-files: secret }');
    const token = (key: Buffer): Promise<string> =>
      new SignJWT({ sub: 'bob', exp: 1_700_000_100 })
        .setProtectedHeader({ alg: 'HS256' })
        .sign(key);
    const next = Buffer.alloc(40, 9);
    expect((await file.control.login(login(await token(secret)))).kind).toBe('admitted');
    expect((await file.control.login(login(await token(next)))).kind).toBe('denied');
    await writeFile(join(folder, 'secret'), next);
    await file.look();
    expect((await file.control.login(login(await token(next)))).kind).toBe('admitted');
    expect((await file.control.login(login(await token(secret)))).kind).toBe('denied');
  });

  it('a secret that is wrong leaves the one before', async () => {
    await writeFile(join(folder, 'secret'), secret);
    await using file = await open('token: { secret-files: [secret] }');
    await writeFile(join(folder, 'secret'), 'short');
    await file.look();
    expect(file.isStale).toBe(true);
    expect(errors.join()).toContain('at least 32');
    const token = await new SignJWT({ sub: 'bob', exp: 1_700_000_100 })
      .setProtectedHeader({ alg: 'HS256' })
      .sign(secret);
    expect((await file.control.login(login(token))).kind).toBe('admitted');
  });

  it('keeps what guards have counted unless their settings change', async () => {
    await using file = await open('login-guard: { user-and-address-max: 2 }\n' + alice.trimStart());
    await file.control.login(login('x'));
    await file.control.login(login('x'));
    expect((await file.control.login(login('x'))).kind).toBe('banned');
    await writeFile(path, `login-guard: { user-and-address-max: 2 }\nanonymous: allow\n${alice}`);
    await file.look();
    expect((await file.control.login(login('x'))).kind).toBe('banned');
    await writeFile(path, `login-guard: { user-and-address-max: 3 }\n${alice}`);
    await file.look();
    expect((await file.control.login(login('x'))).kind).toBe('denied');
  });
});
