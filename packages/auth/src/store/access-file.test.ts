import { describe, expect, it } from 'vitest';

import { operations } from '../rules/access-rule.ts';
import { parseAccessFile } from './access-file.ts';

const whole = `
anonymous: allow
default: allow
users:
  - name: alice
    password: $scrypt$ln=14,r=8,p=1$c2FsdHNhbHQ$aGFzaGhhc2g
    groups: [ops]
    superuser: true
rules:
  - allow: publish
    who: { user: alice, address: 10.0.0.0/8 }
    mqtt: [ 'devices/\${clientid}/#', eq a/# ]
    qos: [0, 1]
    retain: false
  - deny: all
    topic: [ secret-*, x ]
    cluster: true
bans:
  - { address: 10.1.0.0/16, until: 2030-01-31T12:00:00Z, reason: noise, by: operator }
  - client-id: c1
chain: [http, users]
http: { url: 'http://127.0.0.1:1/x' }
`;

describe('an access file', () => {
  it('is users, rules, bans and members of the chain', () => {
    const { content } = parseAccessFile(whole);
    expect(content).toMatchObject({
      anonymous: 'allow',
      default: 'allow',
      users: [{ name: 'alice', groups: ['ops'], superuser: true }],
      chain: ['http', 'users'],
    });
    expect(content.rules).toMatchObject([
      {
        effect: 'allow',
        operations: ['publish'],
        who: { users: ['alice'], addresses: ['10.0.0.0/8'] },
        resources: [
          { kind: 'mqtt', filter: 'devices/${clientid}/#', exact: false },
          { kind: 'mqtt', filter: 'a/#', exact: true },
        ],
        qos: [0, 1],
        retain: false,
      },
      {
        effect: 'deny',
        operations,
        resources: [
          { kind: 'topic', name: 'secret-', prefixed: true },
          { kind: 'topic', name: 'x', prefixed: false },
          { kind: 'cluster' },
        ],
      },
    ]);
    const untilMs = Date.UTC(2030, 0, 31, 12);
    expect(content.bans).toEqual([
      { kind: 'address', value: '10.1.0.0/16', untilMs, reason: 'noise', by: 'operator' },
      {
        kind: 'client-id',
        value: 'c1',
        untilMs: undefined,
        reason: 'no reason given',
        by: 'the access file',
      },
    ]);
  });

  it('may be JSON, or empty', () => {
    const { content } = parseAccessFile('{"rules": [{"allow": "all", "mqtt": "#"}]}');
    expect(content.rules).toHaveLength(1);
    expect(parseAccessFile('').content).toMatchObject({ users: [], rules: [], default: 'deny' });
  });

  it.each([
    ['users: [', 'line 1:'],
    ['user: []', 'line 1: user is unknown'],
    ['rules:\n  - allow: publish\n    mqtt: a/#/b', "line 3: rules[0].mqtt: '#' has to be"],
    ['rules:\n  - allow: publish\n    mqtt: [a, a+]', "line 3: rules[0].mqtt[1]: '+' has to be"],
    [
      'rules:\n  - allow: publish\n    mqtt: a/${name}',
      'line 3: rules[0].mqtt: ${name} is no placeholder',
    ],
    ['rules:\n  - allow: fly\n    mqtt: a', 'line 2: rules[0].allow'],
    ['rules:\n  - mqtt: a', 'line 2: rules[0]: either allow or deny'],
    ['rules:\n  - allow: all', 'line 2: rules[0]: what it is about is missing'],
    [
      'rules:\n  - allow: all\n    mqtt: a\n    who:\n      users: x',
      'line 5: rules[0].who.users is unknown',
    ],
    [
      'rules:\n  - allow: all\n    mqtt: a\n    who: { address: 10.0.0 }',
      'line 4: rules[0].who.address: "10.0.0" is no address',
    ],
    [
      'users:\n  - name: a\n    password: secret',
      'line 3: users[0].password: the password hash is none of',
    ],
    ['users:\n  - name: a\n  - name: a', 'line 3: user "a" is there twice'],
    ['users:\n  - password: x', 'line 2: users[0].name'],
    ['bans:\n  - user: a\n    until: tomorrow', 'line 3: bans[0].until: is no time'],
    ['bans:\n  - reason: x', 'line 2: bans[0]: one of user'],
    ['token: { issuer: x }', 'line 1: token: one of secret-files'],
    ['chain: [token]', 'line 1: token has to be both'],
    ['chain: [users]\nhttp: { url: "http://x" }', 'line 1: http has to be both'],
    ['http: { url: "ftp://x" }', 'line 1: http.url'],
    ['- a', 'line 1: the file'],
  ])('%j is refused: %s', (text, why) => {
    expect(() => parseAccessFile(text)).toThrow(why);
  });
});
