import { describe, expect, it } from 'vitest';

import { type RewriteRule, TopicRewriter } from './topic-rewriter.ts';

const rules: readonly RewriteRule[] = [
  { action: 'all', source: 'y/+/z/#', expression: '^y/(.+)/z/(.+)$', destination: 'y/z/$2' },
  { action: 'all', source: 'x/#', expression: '^x/y/(.+)$', destination: 'z/y/x/$1' },
  { action: 'all', source: 'x/y/+', expression: '^x/y/(\\d+)$', destination: 'z/y/$1' },
  { action: 'publish', source: 'p/#', expression: '.*', destination: 'u/%u/c/%c' },
  { action: 'subscribe', source: 's/#', expression: '^s/(.*)$', destination: '$1' },
];
const owner = { clientId: 'device', user: 'ada' };

describe('a rewrite rule', () => {
  it.each([
    ['y/a/z/b', 'y/z/b'],
    ['y/def', 'y/def'],
    // The last one that fits decides, also when its expression does not.
    ['x/y/2', 'z/y/2'],
    ['x/y/z', 'x/y/z'],
    ['x/1/2', 'x/1/2'],
    ['x/y/a/b', 'z/y/x/a/b'],
    ['p/1', 'u/ada/c/device'],
    ['s/a', 's/a'],
  ])('makes of the name %s the name %s', (topic, wanted) => {
    const rewriter = new TopicRewriter(rules, 10);
    expect(rewriter.name(topic, owner)).toBe(wanted);
    // And from memory.
    expect(rewriter.name(topic, owner)).toBe(wanted);
  });

  it.each([
    ['s/a/+', 'a/+'],
    ['p/1', 'p/1'],
    ['$share/group/x/y/7', '$share/group/z/y/7'],
    ['$share/x/other', '$share/x/other'],
    ['s/$share/g/a', undefined],
    ['s/', undefined],
  ])('makes of the filter %s the filter %s', (filter, wanted) => {
    expect(new TopicRewriter(rules, 10).filter(filter, owner)).toBe(wanted);
  });

  it.each([
    { clientId: '#', user: 'ada' },
    { clientId: 'a/b', user: 'ada' },
    { clientId: 'c', user: '' },
  ])('makes nothing for who cannot stand in a topic: %j', (who) => {
    expect(new TopicRewriter(rules, 10).name('p/1', who)).toBeUndefined();
  });

  it('makes no name that is not legal', () => {
    const bad: RewriteRule = {
      action: 'all',
      source: '#',
      expression: '^(.*)$',
      destination: '$1/+',
    };
    expect(new TopicRewriter([bad], 10).name('a', owner)).toBeUndefined();
    expect(new TopicRewriter([bad], 10).filter('a', owner)).toBe('a/+');
  });

  it('takes time by the length of the topic, whatever the expression', () => {
    const evil: RewriteRule = {
      action: 'all',
      source: '#',
      expression: '^(a+)+$',
      destination: 'b',
    };
    // Backtracking would not end.
    const topic = `${'a'.repeat(5_000)}!`;
    expect(new TopicRewriter([evil], 10).name(topic, owner)).toBe(topic);
  });

  it.each([
    [{ source: 'a/#/b' }, /rule 1: the source a\/#\/b has '\+' or '#' where none may stand/],
    [{ source: '$share/g/a' }, /leave that out/],
    [{ expression: '(' }, /rule 1: .*missing closing \)/],
    [{ expression: '(?=a)' }, /rule 1: /],
    [{ destination: '$2' }, /\$2 has \$2, but the expression has 1 groups/],
    [{ destination: '' }, /the destination is empty/],
  ])('that cannot be is refused: %j', (wrong, message) => {
    const rule: RewriteRule = { action: 'all', source: '#', expression: '(a)', destination: 'b' };
    expect(() => new TopicRewriter([{ ...rule, ...wrong }], 10)).toThrow(message);
  });
});
