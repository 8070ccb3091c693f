import { describe, expect, it } from 'vitest';

import { allowedListen, allowedMqttListeners, reachableListen } from './exposure.ts';
import { listenerList } from './mqtt/listener-config.ts';

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

describe('an MQTT listener', () => {
  const files = 'cert=a&key=b&client-ca=c';
  const allowed = (text: string, more: object = {}): number =>
    allowedMqttListeners({ 'mqtt-listen': listenerList.parse(text), ...more }).length;

  it.each([
    'off',
    '127.0.0.1:1883,[::1]:1883',
    `mqtts://localhost:8883?${files}`,
    'mqtt://0.0.0.0:1883?auth=anonymous',
    `mqtts://0.0.0.0:8883?${files}&require-client-cert=true`,
    `mqtts://0.0.0.0:8883?${files}&auth=certificate`,
  ])('may be on %s', (text) => {
    expect(allowed(text)).toBe(listenerList.parse(text).length);
  });

  it.each([
    '0.0.0.0:1883',
    '127.0.0.1:1883,ws://10.0.0.1:8083',
    'mqtts://0.0.0.0:8883?cert=a&key=b',
    `mqtts://0.0.0.0:8883?${files}`,
  ])('may not be on %s unless everyone may, and the error says all ways out', (text) => {
    const ways = /client-ca=FILE.*auth=anonymous.*--insecure-mqtt.*loopback/;
    expect(() => allowed(text)).toThrow(ways);
    expect(allowed(text, { 'insecure-mqtt': true })).toBeGreaterThan(0);
  });
});
