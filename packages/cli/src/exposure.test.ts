import { describe, expect, it } from 'vitest';

import { allowedListen, reachableListen } from './exposure.ts';

const free = '10.0.0.1:7400';
const tls = { 'cluster-tls-ca': 'a', 'cluster-tls-cert': 'b', 'cluster-tls-key': 'c' };

describe('the gRPC listener', () => {
  it.each(['127.0.0.1:1', '127.9.9.9:1', 'localhost:1', '[::1]:1'])('may be on %s', (listen) => {
    expect(allowedListen({ listen })).toBe(listen);
  });

  it.each([{ 'cluster-tls-dir': 'certs' }, tls, { 'insecure-cluster': true }])(
    'may leave loopback with %j',
    (options) => expect(allowedListen({ listen: free, ...options })).toBe(free),
  );

  it.each([free, '0.0.0.0:1', '[::]:1', '[::ffff:127.0.0.1]:1', '127.0.0.1.example.com:1'])(
    'may not be on %s without, and the error says both ways out',
    (listen) => {
      expect(() => allowedListen({ listen })).toThrow(/--cluster-tls-dir.*--insecure-cluster/);
    },
  );

  it.each(['0.0.0.0:1', '[::]:1', '[0:0:0:0:0:0:0:0]:1'])(
    'of a role that others reach may not be on %s without a host to tell them',
    (listen) => {
      const options = { listen, 'insecure-cluster': true };
      expect(() => reachableListen(options)).toThrow(/--advertise-host HOST/);
      expect(reachableListen({ ...options, 'advertise-host': 'journal-1' })).toBe(listen);
    },
  );

  it('of such a role may be on one address without', () => {
    expect(reachableListen({ listen: free, 'insecure-cluster': true })).toBe(free);
    expect(reachableListen({ listen: '[::1]:1' })).toBe('[::1]:1');
  });

  it('may not with half of what TLS needs', () => {
    const half = { 'cluster-tls-ca': 'a', 'cluster-tls-key': 'c' };
    expect(() => allowedListen({ listen: free, ...half })).toThrow('TLS needs');
  });
});
