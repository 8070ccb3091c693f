import { describe, expect, it } from 'vitest';

import { resolveOptions } from '../options.ts';

function resolve(file: Record<string, unknown>, flags: Record<string, unknown> = {}) {
  return resolveOptions('broker', { flags, environment: {}, file });
}

describe('topic rules', () => {
  it('come from the file, or as JSON from a flag', () => {
    const rule = { source: 'a/#', regex: '^a/(.*)$', destination: 'b/$1' };
    const wanted = { action: 'all', source: 'a/#', expression: '^a/(.*)$', destination: 'b/$1' };
    const file = { 'mqtt-rewrite-rules': [rule], 'mqtt-auto-subscriptions': [{ filter: 'to/%c' }] };
    const options = resolve(file);
    expect(options['mqtt-rewrite-rules']).toEqual([wanted]);
    expect(options['mqtt-auto-subscriptions']).toEqual([
      { filter: 'to/%c', qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 },
    ]);
    const flag = { 'mqtt-rewrite-rules': JSON.stringify([rule]) };
    expect(resolve({}, flag)['mqtt-rewrite-rules']).toEqual([wanted]);
  });

  it.each([
    [{ 'mqtt-rewrite-rules': 'no' }, /must be a list/],
    [
      { 'mqtt-rewrite-rules': [{ source: 'a', regex: '(', destination: 'b' }] },
      /mqtt-rewrite-rules .*rewrite rule 1: .*missing closing/,
    ],
    [{ 'mqtt-rewrite-rules': [{ source: 'a' }] }, /entry 1: regex: must be a regular expression/],
    [
      { 'mqtt-rewrite-rules': [{ source: 'a', regex: 'a', destination: 'b', action: 'both' }] },
      /entry 1: action: must be publish, subscribe or all/,
    ],
    [{ 'mqtt-auto-subscriptions': [{ filter: 'a/#/b' }] }, /automatic subscription 1: the filter/],
    [{ 'mqtt-auto-subscriptions': [{ filter: 'a', qos: 3 }] }, /entry 1: qos: must be 0, 1 or 2/],
    [{ 'mqtt-auto-subscriptions': [{ filter: 'a', quos: 1 }] }, /entry 1: .*quos/],
    [{ 'mqtt-sys-interval': '10' }, /time with its unit/],
    [{ 'mqtt-events': 'connected,gone' }, /must be "off" or some of connected/],
  ])('that are wrong are refused with what and where: %j', (file, message) => {
    expect(() => resolve(file)).toThrow(message);
  });
});
