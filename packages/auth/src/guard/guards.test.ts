import { VirtualClock } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';

import { AddressSet, addressProblem } from './address-set.ts';
import type { Ban } from './ban.ts';
import { boundedKey } from './bounded-key.ts';
import { BanTable } from './ban-table.ts';
import { FlappingGuard } from './flapping-guard.ts';
import { LoginGuard } from './login-guard.ts';

const options = { windowMs: 1_000, pairMax: 3, addressMax: 6, userMax: 8, lockMs: 10_000 };

function fail(guard: LoginGuard, times: number, address: string, user?: string): void {
  for (let at = 0; at < times; at++) guard.failed(address, user);
}

describe('the login guard', () => {
  it('locks a user at an address after so many failures, and nobody else', async () => {
    const clock = new VirtualClock();
    const guard = new LoginGuard(clock, options);
    fail(guard, 2, 'a', 'alice');
    expect(guard.lockOf('a', 'alice')).toBeUndefined();
    fail(guard, 1, 'a', 'alice');
    expect(guard.lockOf('a', 'alice')).toContain('alice');
    expect(guard.lockOf('a', 'bob')).toBeUndefined();
    expect(guard.lockOf('b', 'alice')).toBeUndefined();
    await clock.advance(10_001);
    expect(guard.lockOf('a', 'alice')).toBeUndefined();
    expect(guard.locked).toBe(1);
  });

  it('failures that are further apart than the window lock nobody', async () => {
    const clock = new VirtualClock();
    const guard = new LoginGuard(clock, options);
    for (let at = 0; at < 20; at++) {
      guard.failed('a', 'alice');
      await clock.advance(600);
    }
    expect(guard.locked).toBe(0);
  });

  it('a login that succeeds begins anew', () => {
    const guard = new LoginGuard(new VirtualClock(), options);
    fail(guard, 2, 'a', 'alice');
    guard.succeeded('a', 'alice');
    fail(guard, 2, 'a', 'alice');
    expect(guard.lockOf('a', 'alice')).toBeUndefined();
  });

  it('locks an address that tries many users', () => {
    const guard = new LoginGuard(new VirtualClock(), options);
    for (let at = 0; at < 6; at++) guard.failed('a', `user-${at}`);
    expect(guard.lockOf('a', 'new')).toContain('from a');
    expect(guard.lockOf('a', undefined)).toContain('from a');
    expect(guard.lockOf('b', 'user-1')).toBeUndefined();
  });

  it('an address that is locked is not for who has logged in from it lately', () => {
    const guard = new LoginGuard(new VirtualClock(), options);
    guard.succeeded('nat', 'alice');
    for (let at = 0; at < 6; at++) guard.failed('nat', `user-${at}`);
    expect(guard.lockOf('nat', 'bob')).toContain('from nat');
    expect(guard.lockOf('nat', 'alice')).toBeUndefined();
    fail(guard, 3, 'nat', 'alice');
    expect(guard.lockOf('nat', 'alice')).toContain('alice');
  });

  it('locks a user that many addresses try, but not where he has logged in lately', async () => {
    const clock = new VirtualClock();
    const guard = new LoginGuard(clock, options);
    guard.succeeded('home', 'alice');
    for (let at = 0; at < 8; at++) guard.failed(`bot-${at}`, 'alice');
    expect(guard.lockOf('elsewhere', 'alice')).toContain('alice');
    expect(guard.lockOf('home', 'alice')).toBeUndefined();
  });

  it('keeps so many entries at most, and says what went', () => {
    const guard = new LoginGuard(new VirtualClock(), { ...options, keysMax: 10 });
    for (let at = 0; at < 100; at++) guard.failed(`address-${at}`, `user-${at}`);
    expect(guard.evicted).toBe(270);
  });
});

describe('names as long as MQTT allows', () => {
  it('are told apart, and do not fill the tables', () => {
    const long = 'x'.repeat(65_535);
    expect(boundedKey(`${long}a`)).not.toBe(boundedKey(`${long}b`));
    expect(boundedKey(long).length).toBeLessThan(100);
    const guard = new LoginGuard(new VirtualClock(), options);
    fail(guard, 3, 'a', long);
    expect(guard.lockOf('a', long)).toContain('xxx');
    expect(guard.lockOf('a', `${long}y`)).toBeUndefined();
  });
});

describe('the flapping guard', () => {
  it('locks a client id that ends too many connections within the window', async () => {
    const clock = new VirtualClock();
    const guard = new FlappingGuard(clock, { windowMs: 1_000, endsMax: 3, lockMs: 5_000 });
    for (let at = 0; at < 3; at++) guard.ended('c');
    guard.ended('d');
    expect(guard.lockOf('c')).toContain('3 connections within 1 s');
    expect(guard.lockOf('d')).toBeUndefined();
    await clock.advance(5_001);
    expect(guard.lockOf('c')).toBeUndefined();
  });
});

describe('bans', () => {
  const ban = (kind: Ban['kind'], value: string, untilMs?: number): Ban => ({
    kind,
    value,
    untilMs,
    reason: 'r',
    by: 'b',
  });
  const client = { userName: 'alice', clientId: 'c1', address: '10.1.2.3' };

  it.each([
    [ban('user', 'alice'), true],
    [ban('user', 'bob'), false],
    [ban('client-id', 'c1'), true],
    [ban('client-id', 'alice'), false],
    [ban('address', '10.1.2.3'), true],
    [ban('address', '::ffff:10.1.2.3'), true],
    [ban('address', '10.1.0.0/16'), true],
    [ban('address', '10.2.0.0/16'), false],
    [ban('user', 'alice', 1_000), false],
    [ban('user', 'alice', 1_001), true],
    [ban('address', '10.0.0.0/8', 1_000), false],
  ])('%j fits: %s', (one, is) => {
    expect(new BanTable([one]).find(client, 1_000) !== undefined).toBe(is);
  });

  it('an IPv4 address in IPv6 form is an IPv4 address', () => {
    const table = new BanTable([ban('address', '10.0.0.0/8')]);
    expect(table.find({ ...client, address: '::ffff:10.1.2.3' }, 0)).toBeDefined();
  });

  it('an IPv6 address has many spellings', () => {
    const table = new BanTable([ban('address', '2001:DB8:0::1')]);
    expect(table.find({ ...client, address: '2001:db8::1' }, 0)).toBeDefined();
  });

  it('of two of the same the longer one counts', () => {
    const both = [ban('user', 'alice'), ban('user', 'alice', 5)];
    for (const order of [both, [...both].reverse()]) {
      expect(new BanTable(order).find(client, 10)).toBeDefined();
    }
  });
});

describe('addresses', () => {
  it.each(['', 'host', '10.0.0.0/33', '10.0.0/8', '::1/129', '1.2.3.4/8/8', '1.2.3.4/x'])(
    '%j is none',
    (text) => expect(addressProblem(text)).toContain('no address'),
  );

  it('are found in their ranges', () => {
    const set = new AddressSet(['10.0.0.0/8', '2001:db8::/32', '192.168.1.1']);
    expect(
      ['10.9.9.9', '2001:db8::5', '192.168.1.1', '::ffff:10.0.0.1'].every((one) => set.has(one)),
    ).toBe(true);
    expect(['11.0.0.1', '2001:db9::1', '192.168.1.2', 'x', ''].some((one) => set.has(one))).toBe(
      false,
    );
  });
});
