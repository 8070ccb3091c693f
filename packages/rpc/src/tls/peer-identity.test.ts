import { describe, expect, it } from 'vitest';
import { identityOf, identityUri } from './peer-identity.ts';

const journal = { cluster: 'robustmq', name: 'journal-1', roles: ['journal'] } as const;

describe('the identity in alternative names', () => {
  it('is what its URI says, among hosts and addresses', () => {
    const names = `DNS:journal-1, IP Address:127.0.0.1, URI:${identityUri(journal, 'journal')}`;
    expect(identityOf(names)).toEqual(journal);
  });

  it('may have several roles under one name', () => {
    const names = 'URI:robustmq://c/placement/n, URI:robustmq://c/journal/n, DNS:n';
    expect(identityOf(names).roles).toEqual(['placement', 'journal']);
  });

  it.each([
    undefined,
    '',
    'DNS:journal-1',
    'URI:https://c/journal/n',
    'URI:robustmq://c/boss/n',
    'URI:robustmq://c/journal/n/x',
    'URI:robustmq://c/journal/',
    'URI:robustmq://C/journal/n',
    'DNS:robustmq://c/journal/n',
    // Another cluster or name beside it.
    'URI:robustmq://c/journal/n, URI:robustmq://d/journal/n',
    'URI:robustmq://c/journal/n, URI:robustmq://c/placement/m',
    // One name that holds what looks like another.
    'DNS:"a, URI:robustmq://c/placement/n, b"',
  ])('%s has none', (names) => {
    expect(() => identityOf(names)).toThrow('gives no role');
  });
});
