import { describe, expect, it } from 'vitest';

import { identityOf, type Principal } from '../principal.ts';
import { PrincipalAccess } from '../rules/principal-access.ts';
import { RuleSet } from '../rules/rule-set.ts';
import { accessFileText } from '../store/access-file-text.ts';
import { parseAccessFile } from '../store/access-file.ts';
import { parseMosquittoAcl } from './acl-file.ts';
import { parseMosquittoPasswords } from './password-file.ts';

const passwords = `
# made by mosquitto_passwd
alice:$7$101$5G/obhZhQM+1o8LW$2p0qA6j9OYTSummJQynObwmxry+8UAv9X1fWreT23uOWCyI/+CJHakcAIsCuAkSnPzlTJF8Tgji9BRhwmYoIpQ==
bob:$6$FVzAh2XRKeraS07G$XUyYPdf0nq03VDPvaYdEmpiygN82v7ZW8JiCWsp184OD5+2BGInj7J9DGQ+fW4JV4h4EFMiiQllJ6BM4uaj2qg==
`;

const acl = `# for clients without a user name
topic read public/#

user alice
topic alice/#
topic write log with blanks/x
topic read read
topic deny alice/secret

pattern readwrite devices/%c/#
pattern read users/%u
`;

describe('a Mosquitto password file', () => {
  it('is its users with the hashes that stand there', () => {
    const users = parseMosquittoPasswords(passwords);
    expect(users.map(({ name }) => name)).toEqual(['alice', 'bob']);
    expect(users[0]?.credentials.password).toMatch(/^\$7\$101\$/);
    expect(users[1]?.credentials.password).toMatch(/^\$6\$/);
  });

  it.each([
    ['alice', 'line 1: is not'],
    ['\nalice:plain', 'line 2: has a password that is not hashed'],
    ['alice:$argon2id$x', 'line 1: the password hash'],
    [
      `alice:$6$FVzAh2XRKeraS07G$XUyYPdf0nq03VDPvaYdEmpiygN82v7ZW8JiCWsp184OD5+2BGInj7J9DGQ+fW4JV4h4EFMiiQllJ6BM4uaj2qg==\nalice:$6$FVzAh2XRKeraS07G$XUyYPdf0nq03VDPvaYdEmpiygN82v7ZW8JiCWsp184OD5+2BGInj7J9DGQ+fW4JV4h4EFMiiQllJ6BM4uaj2qg==`,
      'line 2: names user "alice" again',
    ],
  ])('%j is refused: %s', (text, why) => {
    expect(() => parseMosquittoPasswords(text)).toThrow(why);
  });
});

describe('a Mosquitto ACL file', () => {
  const accessOf = (userName: string | undefined, clientId = 'c'): PrincipalAccess => {
    const identity = userName === undefined ? undefined : identityOf(userName);
    const principal: Principal = { identity, clientId, address: '::1', commonName: undefined };
    const rules = new RuleSet(parseMosquittoAcl(acl), 'deny');
    return new PrincipalAccess({ current: rules }, principal);
  };

  it('what stands before the first user is for clients without a user name', () => {
    expect(accessOf(undefined).maySubscribe('public/x', 0)).toBe(true);
    expect(accessOf(undefined).mayPublish('public/x', 0, false)).toBe(false);
    expect(accessOf('alice').maySubscribe('public/x', 0)).toBe(false);
  });

  it('a topic is for its user, to be read and written unless it says otherwise', () => {
    const alice = accessOf('alice');
    expect(alice.mayPublish('alice/x', 0, false)).toBe(true);
    expect(alice.maySubscribe('alice/x', 0)).toBe(true);
    expect(accessOf('bob').mayPublish('alice/x', 0, false)).toBe(false);
    expect(alice.mayPublish('log with blanks/x', 0, false)).toBe(true);
    expect(alice.maySubscribe('log with blanks/x', 0)).toBe(false);
    expect(alice.maySubscribe('read', 0)).toBe(true);
  });

  it('a deny wins', () => {
    expect(accessOf('alice').mayPublish('alice/secret', 0, false)).toBe(false);
    expect(accessOf('alice').mayReceive('alice/secret', 'alice/#', 0)).toBe(false);
  });

  it('a pattern is for everybody, with his client id and name', () => {
    expect(accessOf('bob', 'd1').mayPublish('devices/d1/x', 0, false)).toBe(true);
    expect(accessOf(undefined, 'd1').mayPublish('devices/d1/x', 0, false)).toBe(true);
    expect(accessOf('bob', 'd1').mayPublish('devices/d2/x', 0, false)).toBe(false);
    expect(accessOf('bob').maySubscribe('users/bob', 0)).toBe(true);
    expect(accessOf(undefined).maySubscribe('users/bob', 0)).toBe(false);
  });

  it.each([
    ['topic', 'line 1: has "": it is empty'],
    ['user', 'line 1: names no user'],
    ['topics a', 'line 1: begins with "topics"'],
    ['\ntopic all a', 'line 2: has "all", which is none of read, write, readwrite, deny'],
    ['user a\ntopic x/%u', 'line 2: has %u or %c in a topic line'],
    ['pattern a/#/b', 'line 1: has "a/#/b": \'#\''],
  ])('%j is refused: %s', (text, why) => {
    expect(() => parseMosquittoAcl(text)).toThrow(why);
  });

  it('and the passwords together make an access file that says the same', () => {
    const data = { users: parseMosquittoPasswords(passwords), rules: parseMosquittoAcl(acl) };
    const { content } = parseAccessFile(accessFileText(data));
    expect(content.users).toEqual(data.users);
    expect(
      content.rules.map(({ effect, operations, resources }) => ({ effect, operations, resources })),
    ).toEqual(
      data.rules.map(({ effect, operations, resources }) => ({ effect, operations, resources })),
    );
    expect(content.rules.map(({ who }) => who)).toMatchObject(data.rules.map(({ who }) => who));
  });
});
