import { describe, expect, it } from 'vitest';

import { type ListenerConfig, listenerList, listenerTextFurther } from './listener-config.ts';

function parse(given: unknown): ListenerConfig[] {
  return listenerList.parse(given);
}

function mistake(given: unknown): string {
  const parsed = listenerList.safeParse(given);
  return parsed.success ? 'no mistake' : (parsed.error.issues[0]?.message ?? '');
}

const tls = 'cert=s.crt&key=s.key';

describe('--mqtt-listen', () => {
  it('is a plain address, as ever', () => {
    expect(parse('127.0.0.1:1883')).toMatchObject([
      { name: 'mqtt', kind: 'mqtt', listen: '127.0.0.1:1883', text: '127.0.0.1:1883', limits: {} },
    ]);
    expect(parse('off')).toEqual([]);
  });

  it('is a list of addresses and URLs, named after their kinds', () => {
    const text = `127.0.0.1:1883, [::1]:1884,mqtts://0.0.0.0:8883?${tls},ws://localhost:8083/here`;
    expect(parse(text)).toMatchObject([
      { name: 'mqtt', listen: '127.0.0.1:1883' },
      { name: 'mqtt-2', listen: '[::1]:1884' },
      { name: 'mqtts', kind: 'mqtts', listen: '0.0.0.0:8883' },
      { name: 'ws', kind: 'ws', listen: 'localhost:8083', path: '/here' },
    ]);
  });

  it('has every parameter in the query', () => {
    const [config] = parse(
      `wss://0.0.0.0:8884/mqtt?name=web&${tls}&cert=t.crt&key=t.key&client-ca=ca.crt` +
        '&require-client-cert=true&identity=san&auth=certificate&origin=https%3A%2F%2Fa.example' +
        '&proxy-protocol=10.0.0.0/8&proxy-protocol=fd00::/8&advertise=broker.example:443' +
        '&max-connections=5&max-connections-per-address=2&connect-rate=100&connect-timeout-ms=5000' +
        '&max-packet-size=1MiB&keep-alive-max=60&receive-max=10&topic-alias-max=0&session-expiry-max=3600',
    );
    expect(config).toMatchObject({
      name: 'web',
      path: '/mqtt',
      advertise: 'broker.example:443',
      files: {
        pairs: [
          { cert: 's.crt', key: 's.key' },
          { cert: 't.crt', key: 't.key' },
        ],
        clientCa: 'ca.crt',
        clientCertificateRequired: true,
      },
      identity: 'san',
      authentication: 'certificate',
      proxyNetworks: ['10.0.0.0/8', 'fd00::/8'],
      origins: ['https://a.example'],
      limits: {
        connectionsMax: 5,
        connectionsPerAddressMax: 2,
        connectsPerSecondMax: 100,
        connectTimeoutMs: 5_000,
        packetBytesMax: 1024 * 1024,
        keepAliveSecondsMax: 60,
        receiveMaximum: 10,
        topicAliasMaximum: 0,
        sessionExpirySecondsMax: 3_600,
      },
    });
  });

  it('is a list in the file, of texts and of mappings with the same names', () => {
    const given = [
      '127.0.0.1:1883',
      {
        url: 'mqtts://0.0.0.0:8883',
        cert: ['s.crt', 't.crt'],
        key: ['s.key', 't.key'],
        'client-ca': 'ca.crt',
        'require-client-cert': true,
        'max-connections': 5,
        'max-packet-size': 1000,
      },
    ];
    const configs = parse(given);
    expect(configs).toMatchObject([
      { name: 'mqtt' },
      {
        name: 'mqtts',
        files: { pairs: [{ cert: 's.crt' }, { cert: 't.crt' }], clientCertificateRequired: true },
        limits: { connectionsMax: 5, packetBytesMax: 1000 },
      },
    ]);
    // What it is written as is the same listeners again.
    expect(parse(configs.map(({ text }) => text).join(','))).toEqual(configs);
  });

  it('can be moved to another port', () => {
    const further = (text: string): string[] =>
      parse(text).map((config) => listenerTextFurther(config, 2));
    expect(further('127.0.0.1:1883')).toEqual(['127.0.0.1:1885']);
    expect(further('127.0.0.1:0')).toEqual(['127.0.0.1:0']);
    expect(further('ws://[::1]:80/x?name=a')).toEqual(['ws://[::1]:82/x?name=a']);
  });

  it.each([
    ['1883', /^1883: must be HOST:PORT/],
    ['127.0.0.1:99999', /65535/],
    ['', /must be HOST:PORT/],
    ['off,127.0.0.1:1883', /^off: must be HOST:PORT/],
    [
      'tcp://127.0.0.1:1883',
      /tcp:\/\/ is unknown; known: mqtt:\/\/, mqtts:\/\/, ws:\/\/, wss:\/\/$/,
    ],
    ['mqtt://127.0.0.1', /must be HOST:PORT/],
    [
      'mqtt://127.0.0.1:1?max-conections=5',
      /unknown parameter max-conections; known: .*max-connections/,
    ],
    ['mqtt://127.0.0.1:1?max-connections=many', /max-connections "many": /],
    ['mqtt://127.0.0.1:1?max-connections=1&max-connections=2', /max-connections \["1","2"\]/],
    ['mqtt://127.0.0.1:1?receive-max=0', /receive-max "0": must be a whole number from 1 to 65535/],
    ['mqtt://127.0.0.1:1?max-packet-size=1GiB', /max-packet-size "1GiB": must be .* 256MiB/],
    ['mqtt://127.0.0.1:1?name=A', /name "A": must be/],
    ['mqtt://127.0.0.1:1?name=a,mqtt://127.0.0.1:2?name=a', /another listener is called a/],
    ['mqtt://127.0.0.1:1?proxy-protocol=any', /proxy-protocol "any": must be the network/],
    ['mqtts://127.0.0.1:1', /needs cert=FILE and key=FILE/],
    ['mqtts://127.0.0.1:1?cert=a', /one key=FILE for each cert=FILE/],
    [`mqtt://127.0.0.1:1?${tls}`, /mqtt:\/\/ has no TLS: write mqtts:\/\//],
    [`ws://127.0.0.1:1?${tls}`, /ws:\/\/ has no TLS: write wss:\/\//],
    [`mqtts://127.0.0.1:1?${tls}&require-client-cert=true`, /needs client-ca=FILE/],
    ['mqtt://127.0.0.1:1?auth=certificate', /need client-ca=FILE/],
    ['mqtt://127.0.0.1:1?auth=password', /auth "password": must be anonymous or certificate/],
    [`mqtts://127.0.0.1:1?${tls}&client-ca=c&identity=none&auth=certificate`, /identity=cn or san/],
    ['mqtt://127.0.0.1:1/path', /path and origin are of WebSocket: write ws:\/\//],
  ])('refuses %j and says what to write', (given, message) => {
    expect(mistake(given)).toMatch(message);
  });

  it.each([
    [[], /a list of them/],
    [[5], /5 is no listener/],
    [[{ cert: 'a' }], /a listener needs url/],
    [[{ url: 'mqtt://127.0.0.1:1', colour: 'red' }], /unknown parameter colour; known: name/],
    [[{ url: 'mqtt://127.0.0.1:1', 'max-connections': null }], /max-connections null: /],
  ])('refuses %j in the file', (given, message) => {
    expect(mistake(given)).toMatch(message);
  });
});
