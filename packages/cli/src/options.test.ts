import { mqttLimitsDefault } from '@robustmq/mqtt';
import { describe, expect, it } from 'vitest';

import { mqttLimits } from './mqtt/mqtt-options.ts';
import { environmentName, optionsOf, resolveOptions } from './options.ts';

const none = { flags: {}, environment: {}, file: {} };

describe('options', () => {
  it('have a default per role', () => {
    expect(resolveOptions('journal', none).listen).toBe('127.0.0.1:7401');
    expect(resolveOptions('broker', none)).toMatchObject({
      listen: '127.0.0.1:7402',
      placement: ['127.0.0.1:7400'],
      'mqtt-packet-bytes-max': 4 * 1024 * 1024,
    });
  });

  it('take the flag before the environment before the file', () => {
    const flags = { 'mqtt-listen': '127.0.0.1:1' };
    const environment = { ROBUSTMQ_MQTT_LISTEN: '127.0.0.1:2', ROBUSTMQ_ZONE: 'a' };
    const file = { 'mqtt-listen': '127.0.0.1:3', zone: 'b', 'http-listen': 'off' };
    expect(resolveOptions('broker', { flags, environment, file })).toMatchObject({
      'mqtt-listen': [{ listen: '127.0.0.1:1' }],
      zone: 'a',
      'http-listen': 'off',
    });
  });

  it.each([
    [{ 'mqtt-listen': '1883' }, /--mqtt-listen "1883": .*HOST:PORT/],
    [{ listen: '127.0.0.1:99999' }, /--listen .*65535/],
    [{ 'node-id': 'Not Good' }, /--node-id .*a-z/],
    [{ 'mqtt-packet-bytes-max': 'much' }, /--mqtt-packet-bytes-max .*512MiB/],
    [{ 'mqtt-receive-max': '0' }, /--mqtt-receive-max "0": must be a whole number from 1 to 65535/],
    [{ 'mqtt-listen': 'mqtts://127.0.0.1:1' }, /--mqtt-listen .*needs cert=FILE/],
    [{ 'log-level': 'loud' }, /--log-level "loud"/],
  ])('refuse %j in one clear line', (flags, message) => {
    expect(() => resolveOptions('broker', { ...none, flags })).toThrow(message);
  });

  it('refuse a key of the file that nobody knows', () => {
    expect(() => resolveOptions('broker', { ...none, file: { 'mqtt-lisen': 'x' } })).toThrow(
      /mqtt-lisen.*known: .*mqtt-listen/,
    );
  });

  it('read sizes in binary units', () => {
    const bytes = (text: string): number | undefined =>
      resolveOptions('journal', { ...none, flags: { 'wal-file-bytes': text } })['wal-file-bytes'];
    expect([bytes('1048576'), bytes('1MiB'), bytes('1.5 G'), bytes('64k')]).toEqual([
      1048576,
      1048576,
      1.5 * 1024 ** 3,
      65536,
    ]);
  });

  it('set every limit of MQTT, with the defaults of the adapter', () => {
    const options = resolveOptions('broker', none);
    expect(mqttLimits(options)).toEqual(mqttLimitsDefault);
    const flags = { 'mqtt-keep-alive-seconds-max': '60', 'mqtt-socket-bytes-max': '2MiB' };
    expect(mqttLimits(resolveOptions('broker', { ...none, flags }))).toMatchObject({
      keepAliveSecondsMax: 60,
      socketBytesMax: 2 * 1024 * 1024,
    });
  });

  it('have an environment name each', () => {
    expect(optionsOf('admin').map(environmentName)).toEqual([
      'ROBUSTMQ_PLACEMENT',
      'ROBUSTMQ_CLUSTER_TLS_DIR',
      'ROBUSTMQ_CLUSTER_TLS_CA',
      'ROBUSTMQ_CLUSTER_TLS_CERT',
      'ROBUSTMQ_CLUSTER_TLS_KEY',
      'ROBUSTMQ_CONFIG',
    ]);
  });
});
