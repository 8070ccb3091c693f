import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { identityOf, type Identity, type Principal } from '../principal.ts';
import { type AccessRule, type Operation, ownRule, type ResourcePattern } from './access-rule.ts';
import { PrincipalAccess } from './principal-access.ts';
import { RuleSet } from './rule-set.ts';
import { TopicPattern } from './topic-pattern.ts';

const both = ['publish', 'subscribe'] as const;

function principal(more: Partial<Principal> = {}, identity: Partial<Identity> = {}): Principal {
  const address = '10.1.2.3';
  const own = identityOf('alice', identity);
  return { identity: own, clientId: 'c1', address, commonName: undefined, ...more };
}

function access(
  rules: readonly AccessRule[],
  who: Principal = principal(),
  fallback: 'allow' | 'deny' = 'deny',
): PrincipalAccess {
  return new PrincipalAccess({ current: new RuleSet(rules, fallback) }, who);
}

function named(
  effect: 'allow' | 'deny',
  operations: readonly Operation[],
  pattern: ResourcePattern,
): AccessRule {
  return { effect, who: {}, operations, resources: [pattern] };
}

describe('publishes', () => {
  it('are denied unless a rule allows them', () => {
    const may = access([ownRule('allow', ['publish'], 'a/#')]);
    expect(may.mayPublish('a/b', 1, false)).toBe(true);
    expect(may.mayPublish('b', 1, false)).toBe(false);
    expect(may.maySubscribe('a/b', 0)).toBe(false);
  });

  it('a deny wins over an allow, in whatever order they stand', () => {
    const rules = [ownRule('allow', both, 'a/#'), ownRule('deny', ['publish'], 'a/secret')];
    for (const order of [rules, [...rules].reverse()]) {
      expect(access(order).mayPublish('a/secret', 0, false)).toBe(false);
      expect(access(order).mayPublish('a/other', 0, false)).toBe(true);
    }
  });

  it('are decided by QoS and retain where a rule says so', () => {
    const may = access([
      ownRule('allow', ['publish'], 't', { qos: [0, 1] }),
      ownRule('deny', ['publish'], 't', { retain: true }),
    ]);
    expect(may.mayPublish('t', 0, false)).toBe(true);
    expect(may.mayPublish('t', 1, false)).toBe(true);
    expect(may.mayPublish('t', 2, false)).toBe(false);
    expect(may.mayPublish('t', 0, true)).toBe(false);
  });

  it('are allowed by default, if it is so, unless a rule denies them', () => {
    const may = access([ownRule('deny', ['publish'], 'a')], principal(), 'allow');
    expect(may.mayPublish('a', 0, false)).toBe(false);
    expect(may.mayPublish('b', 0, false)).toBe(true);
  });

  it('a superuser may do everything', () => {
    const may = access([ownRule('deny', both, '#')], principal({}, { superuser: true }));
    expect(may.mayPublish('a', 2, true)).toBe(true);
    expect(may.coverage('#', 2)).toBe('whole');
  });

  it('rules of the principal itself count like the others', () => {
    const own = [ownRule('allow', both, 'own/#'), ownRule('deny', both, 'shared/x')];
    const rules = [ownRule('allow', both, 'shared/#')];
    const may = access(rules, principal({}, { rules: own }));
    expect(may.mayPublish('own/x', 0, false)).toBe(true);
    expect(may.mayPublish('shared/y', 0, false)).toBe(true);
    expect(may.mayPublish('shared/x', 0, false)).toBe(false);
  });

  it('a whitelist denies the rest, whatever the default is', () => {
    const own = { rules: [ownRule('allow', both, 'own')], whitelist: true };
    const may = access([], principal({}, own), 'allow');
    expect(may.mayPublish('own', 0, false)).toBe(true);
    expect(may.mayPublish('other', 0, false)).toBe(false);
  });

  it('follow the rules that are in force, also for topics that were asked before', () => {
    const source = { current: new RuleSet([ownRule('allow', both, 'a')], 'deny') };
    const may = new PrincipalAccess(source, principal());
    expect(may.mayPublish('a', 0, false)).toBe(true);
    source.current = new RuleSet([ownRule('allow', both, 'b')], 'deny');
    expect(may.mayPublish('a', 0, false)).toBe(false);
    expect(may.mayPublish('b', 0, false)).toBe(true);
  });

  it('are decided the same however many topics were asked in between', () => {
    const may = access([ownRule('allow', ['publish'], '+/1')]);
    for (let at = 0; at < 1000; at++) expect(may.publishBits(`t${at}/1`)).toBe(0b111111);
    expect(may.publishBits('t0/2')).toBe(0);
  });
});

describe('whom a rule concerns', () => {
  const concerns = (who: AccessRule['who'], subject: Principal): boolean =>
    access([{ ...ownRule('allow', both, '#'), who }], subject).mayPublish('t', 0, false);
  const anonymous = principal({ identity: undefined });

  it.each([
    [{ users: ['alice', 'bob'] }, true],
    [{ users: ['bob'] }, false],
    [{ clientIds: ['c1'] }, true],
    [{ clientIds: ['c2'] }, false],
    [{ groups: ['ops'] }, true],
    [{ groups: ['dev'] }, false],
    [{ addresses: ['10.0.0.0/8'] }, true],
    [{ addresses: ['192.168.0.0/16', '10.1.2.3'] }, true],
    [{ addresses: ['192.168.0.0/16'] }, false],
    [{ anonymous: true }, false],
    [{ anonymous: false }, true],
    [{ users: ['alice'], addresses: ['192.168.0.0/16'] }, false],
    [{ users: ['alice'], groups: ['ops'], clientIds: ['c1'] }, true],
    [{}, true],
  ])('%j: alice of group ops from 10.1.2.3: %s', (who, is) => {
    expect(concerns(who, principal({}, { groups: ['ops'] }))).toBe(is);
  });

  it('nobody who is anonymous is a user or in a group', () => {
    expect(concerns({ users: ['alice'] }, anonymous)).toBe(false);
    expect(concerns({ groups: ['ops'] }, anonymous)).toBe(false);
    expect(concerns({ anonymous: true }, anonymous)).toBe(true);
    expect(concerns({}, anonymous)).toBe(true);
  });
});

describe('placeholders', () => {
  const rules = [
    ownRule('allow', both, 'devices/${clientid}/#'),
    ownRule('allow', both, 'users/${username}'),
    ownRule('allow', both, 'certificates/${cert-common-name}'),
  ];

  it('stand for what the client is', () => {
    const may = access(rules, principal({ commonName: 'cn' }));
    expect(may.mayPublish('devices/c1/x', 0, false)).toBe(true);
    expect(may.mayPublish('devices/c2/x', 0, false)).toBe(false);
    expect(may.mayPublish('users/alice', 0, false)).toBe(true);
    expect(may.mayPublish('certificates/cn', 0, false)).toBe(true);
  });

  it.each(['#', '+', 'a/b', 'a+', ''])('a client called %j gets nothing by them', (clientId) => {
    const may = access(rules, principal({ clientId }));
    expect(may.maySubscribe('devices/#', 0)).toBe(false);
    expect(may.mayPublish('devices/a/b/x', 0, false)).toBe(false);
    expect(may.maySubscribe(`devices/${clientId}/#`, 0)).toBe(false);
  });

  it('an absent value fits nothing', () => {
    const may = access(rules, principal({ identity: undefined }));
    expect(may.mayPublish('users/', 0, false)).toBe(false);
    expect(may.mayPublish('users/undefined', 0, false)).toBe(false);
    expect(may.mayPublish('certificates/', 0, false)).toBe(false);
  });
});

describe('subscriptions', () => {
  it('are allowed if one rule covers the whole filter', () => {
    const may = access([ownRule('allow', ['subscribe'], 'a/#')]);
    expect(may.maySubscribe('a/+/b', 0)).toBe(true);
    expect(may.maySubscribe('#', 0)).toBe(false);
    expect(may.maySubscribe('+', 0)).toBe(false);
    expect(may.coverage('a/+/b', 0)).toBe('whole');
  });

  it('a deny that covers the filter refuses it, one that overlaps it is asked for each name', () => {
    const may = access([
      ownRule('allow', ['subscribe'], '#'),
      ownRule('deny', ['subscribe'], 'secret/#'),
    ]);
    expect(may.maySubscribe('secret/x', 0)).toBe(false);
    expect(may.maySubscribe('#', 0)).toBe(true);
    expect(may.coverage('#', 0)).toBe('by-name');
    expect(may.coverage('open/#', 0)).toBe('whole');
    expect(may.mayReceive('open/x', '#', 0)).toBe(true);
    expect(may.mayReceive('secret/x', '#', 0)).toBe(false);
  });

  it('that no rule covers any more get what rules allow by name', () => {
    const may = access([ownRule('allow', ['subscribe'], 'a/b')]);
    expect(may.coverage('a/#', 0)).toBe('by-name');
    expect(may.mayReceive('a/b', 'a/#', 0)).toBe(true);
    expect(may.mayReceive('a/c', 'a/#', 0)).toBe(false);
  });

  it('to a filter that is allowed letter by letter get what it matches', () => {
    const may = access([
      ownRule('allow', ['subscribe'], 'eq a/#'),
      ownRule('deny', ['subscribe'], 'a/secret'),
    ]);
    expect(may.maySubscribe('a/#', 0)).toBe(true);
    expect(may.maySubscribe('a/b', 0)).toBe(false);
    expect(may.mayReceive('a/b', 'a/#', 0)).toBe(true);
    expect(may.mayReceive('a/secret', 'a/#', 0)).toBe(false);
  });

  it('are decided by QoS where a rule says so', () => {
    const may = access([ownRule('allow', ['subscribe'], 'a', { qos: [1] })]);
    expect(may.maySubscribe('a', 1)).toBe(true);
    expect(may.maySubscribe('a', 2)).toBe(false);
  });

  it('[MQTT5-4.7.2-1] a rule that begins with a wildcard does not cover names that begin with $', () => {
    const may = access([ownRule('allow', both, '#')]);
    expect(may.maySubscribe('$SYS/#', 0)).toBe(false);
    expect(access([ownRule('allow', both, '$SYS/#')]).maySubscribe('$SYS/#', 0)).toBe(true);
  });
});

describe('resources of other protocols', () => {
  const topic = (name: string): { kind: 'topic'; name: string } => ({ kind: 'topic', name });

  it('are literal, prefixed or all', () => {
    const may = access([
      named('allow', ['read'], { kind: 'topic', name: 'orders', prefixed: false }),
      named('allow', ['read'], { kind: 'topic', name: 'logs-', prefixed: true }),
      named('allow', ['read'], { kind: 'consumer-group', name: '*', prefixed: false }),
    ]);
    expect(may.authorize('read', topic('orders'))).toBe(true);
    expect(may.authorize('read', topic('orders2'))).toBe(false);
    expect(may.authorize('read', topic('logs-1'))).toBe(true);
    expect(may.authorize('read', { kind: 'consumer-group', name: 'any' })).toBe(true);
    expect(may.authorize('write', topic('orders'))).toBe(false);
    expect(may.authorize('cluster-action', { kind: 'cluster' })).toBe(false);
  });

  it('a deny wins, and only allows imply other operations, as in Kafka', () => {
    const all = { kind: 'topic', name: '*', prefixed: false } as const;
    const may = access([
      named('allow', ['read', 'alter-configs'], all),
      named('deny', ['read'], { kind: 'topic', name: 'secret', prefixed: false }),
    ]);
    expect(may.authorize('read', topic('secret'))).toBe(false);
    expect(may.authorize('describe', topic('secret'))).toBe(true);
    expect(may.authorize('describe-configs', topic('a'))).toBe(true);
    expect(may.authorize('alter', topic('a'))).toBe(false);
  });

  it('the shared topic takes the grant for # besides', () => {
    const kafka = named('allow', ['read', 'write'], { kind: 'topic', name: '*', prefixed: false });
    const hash = ownRule('allow', both, '#');
    expect(access([kafka]).authorize('read', topic('mqtt'))).toBe(false);
    expect(access([kafka, hash]).authorize('read', topic('mqtt'))).toBe(true);
    expect(access([kafka, hash]).authorize('write', topic('mqtt'))).toBe(true);
    expect(access([hash]).authorize('read', topic('mqtt'))).toBe(false);
    const denied = [kafka, hash, ownRule('deny', both, 'secret/#')];
    expect(access(denied).authorize('read', topic('mqtt'))).toBe(false);
    expect(access(denied).authorize('write', topic('mqtt'))).toBe(false);
    expect(access(denied).authorize('read', topic('orders'))).toBe(true);
  });
});

describe('in general', () => {
  const level = fc.constantFrom('a', 'b', '+');
  const filter = fc
    .tuple(fc.array(level, { minLength: 1, maxLength: 3 }), fc.boolean())
    .map(([levels, isOpen]) => [...levels, ...(isOpen ? ['#'] : [])].join('/'));
  const name = fc
    .array(fc.constantFrom('a', 'b'), { minLength: 1, maxLength: 4 })
    .map((levels) => levels.join('/'));
  const who = fc.constantFrom<AccessRule['who']>(
    {},
    { users: ['alice'] },
    { users: ['bob', 'alice'], addresses: ['10.0.0.0/8'] },
    { users: ['bob'] },
    { groups: ['ops'] },
    { clientIds: ['c1'] },
    { clientIds: ['c2'] },
  );
  const rules = fc.array(
    fc.record({
      effect: fc.constantFrom('allow', 'deny'),
      filter,
      who,
      qos: fc.subarray<0 | 1 | 2>([0, 1, 2]),
    }),
    { maxLength: 8 },
  );
  const subject = principal({}, { groups: ['ops'] });
  const isAlice = ({ users, clientIds }: AccessRule['who']): boolean =>
    (users?.includes('alice') ?? true) && (clientIds?.includes('c1') ?? true);

  type Given = {
    effect: 'allow' | 'deny';
    filter: string;
    who: AccessRule['who'];
    qos: (0 | 1 | 2)[];
  };
  const ruleOf = ({ effect, filter, who, qos }: Given): AccessRule => ({
    ...ownRule(effect, both, filter, { qos }),
    who,
  });

  it('a publish is what a plain walk over all rules says', () => {
    fc.assert(
      fc.property(rules, name, fc.constantFrom(0, 1, 2), (given, topic, qos) => {
        const fitting = given.filter(
          (one) =>
            isAlice(one.who) &&
            one.qos.includes(qos) &&
            new TopicPattern(one.filter, false).matches(topic),
        );
        const isAllowed =
          fitting.some(({ effect }) => effect === 'allow') &&
          !fitting.some(({ effect }) => effect === 'deny');
        expect(access(given.map(ruleOf), subject).mayPublish(topic, qos, false)).toBe(isAllowed);
      }),
      { numRuns: 500 },
    );
  });

  it('whatever a filter that is covered whole matches may be delivered, and what is denied never', () => {
    fc.assert(
      fc.property(rules, filter, name, fc.constantFrom(0, 1, 2), (given, asked, topic, qos) => {
        fc.pre(new TopicPattern(asked, false).matches(topic));
        const may = access(given.map(ruleOf), subject);
        const isShown =
          may.coverage(asked, qos) === 'whole' ? true : may.mayReceive(topic, asked, qos);
        const isDenied = given.some(
          (one) =>
            one.effect === 'deny' &&
            isAlice(one.who) &&
            one.qos.includes(qos) &&
            new TopicPattern(one.filter, false).matches(topic),
        );
        if (isDenied) expect(isShown).toBe(false);
        if (may.coverage(asked, qos) === 'whole') {
          expect(may.maySubscribe(asked, qos)).toBe(true);
          expect(may.mayReceive(topic, asked, qos)).toBe(true);
        }
        // What is shown one may also subscribe to by its name.
        if (isShown) expect(may.maySubscribe(topic, qos)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});
