import { describe, expect, it } from 'vitest';
import { advertisedAddress, hostOf, portOf } from './address.ts';

describe('HOST:PORT', () => {
  it.each([
    ['127.0.0.1:1883', '127.0.0.1', 1883],
    ['[::1]:0', '::1', 0],
    ['journal-1:7401', 'journal-1', 7401],
  ])('%s has host %s and port %i', (address, host, port) => {
    expect([hostOf(address), portOf(address)]).toEqual([host, port]);
  });

  it('is advertised with another host, if one is given', () => {
    expect(advertisedAddress('0.0.0.0:7401', 'journal-1')).toBe('journal-1:7401');
    expect(advertisedAddress('127.0.0.1:7401', undefined)).toBe('127.0.0.1:7401');
  });
});
