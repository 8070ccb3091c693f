import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';

import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { RoleProcess } from '../harness/process.ts';
import { type Finished, robustmq } from './command.ts';

/** As long as a test may take. */
const patiently = { timeout: 50_000 };

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'robustmq-listeners-'));
  await certificates('servers', 'broker/server=127.0.0.1');
  await certificates('clients', 'operator/device-7');
});
afterAll(() => rmSync(folder, { recursive: true }));

function path(name: string): string {
  return join(folder, name);
}

/** An authority and what it issues, in a folder of its own. */
async function certificates(name: string, ...orders: string[]): Promise<void> {
  const made = await robustmq('cluster', 'certs', '--out', path(name), ...orders);
  expect(made).toMatchObject({ code: 0, stderr: '' });
}

/** The whole system in one process, with these options in its file. */
function start(name: string, options: object): Promise<RoleProcess> {
  const file = path(`${name}.json`);
  writeFileSync(file, JSON.stringify(options));
  const free = ['--listen', '127.0.0.1:0', '--http-listen', '127.0.0.1:0', '--log-level', 'info'];
  return RoleProcess.start(name, ['start', '--config', file, '--data-dir', path(name), ...free]);
}

function connect(url: string, options: IClientOptions = {}): Promise<MqttClient> {
  return connectAsync(url, { reconnectPeriod: 0, ca: read('servers/ca.crt'), ...options });
}

function read(name: string): string {
  return readFileSync(path(name), 'utf8');
}

async function fingerprint(address: string): Promise<string> {
  const [host = '', port] = address.split(':');
  const socket = connectTls({ host, port: Number(port), rejectUnauthorized: false });
  await new Promise((resolve) => socket.once('secureConnect', resolve));
  const { fingerprint256 } = socket.getPeerCertificate();
  socket.destroy();
  return fingerprint256;
}

async function metric(role: RoleProcess, name: string): Promise<number> {
  const page = await fetch(`http://${role.address('http')}/metrics`);
  const line = (await page.text()).split('\n').find((each) => each.startsWith(name));
  return Number(line?.slice(line.lastIndexOf(' ') + 1));
}

describe('several listeners', () => {
  it('from a file: each kind is served, and commands show who came through which', async () => {
    const files = { cert: path('servers/server/tls.crt'), key: path('servers/server/tls.key') };
    const role = await start('kinds', {
      'mqtt-listen': [
        '127.0.0.1:0',
        {
          url: 'mqtts://127.0.0.1:0',
          name: 'devices',
          ...files,
          'client-ca': path('clients/ca.crt'),
          'require-client-cert': true,
          auth: 'certificate',
          'max-connections': 1,
        },
        'ws://127.0.0.1:0/web?name=web&advertise=broker.example:80',
        { url: 'wss://127.0.0.1:0', ...files, 'receive-max': 5 },
      ],
    });
    try {
      const own = {
        cert: read('clients/device-7/tls.crt'),
        key: read('clients/device-7/tls.key'),
      };
      const clients = [
        await connect(`mqtt://${role.address('mqtt')}`, { clientId: 'tcp' }),
        await connect(`mqtts://${role.address('mqtts')}`, { clientId: 'tls', ...own }),
        await connect(`ws://${role.address('ws')}/web`, { clientId: 'ws' }),
        await connect(`wss://${role.address('wss')}/mqtt`, { clientId: 'wss' }),
      ];
      const [first, ...others] = clients;
      const received = others.map(
        (client) =>
          new Promise((resolve) => client.once('message', (_, body) => resolve(String(body)))),
      );
      for (const client of others) await client.subscribeAsync('t', { qos: 1 });
      await first?.publishAsync('t', 'to all', { qos: 1 });
      expect(await Promise.all(received)).toEqual(['to all', 'to all', 'to all']);

      const admin = (...args: string[]): Promise<Finished> =>
        robustmq(...args, '--placement', role.address('grpc'));
      const { stdout } = await admin('client', 'list', '--json');
      const found = (JSON.parse(stdout) as Record<string, unknown>[]).map((client) => [
        client['clientId'],
        client['listener'],
        client['user'],
      ]);
      expect(found).toEqual([
        ['tcp', 'mqtt', ''],
        ['tls', 'devices', 'device-7'],
        ['ws', 'web', ''],
        ['wss', 'wss', ''],
      ]);
      const status = await admin('status');
      expect(status.stdout).toMatch(
        /mqtt=127\.0\.0\.1:\d+ mqtts=127\.0\.0\.1:\d+ ws=broker\.example:80 wss=127/,
      );
      // The second one of a listener for one.
      await expect(connect(`mqtts://${role.address('mqtts')}`, own)).rejects.toThrow();
      const refused =
        'robustmq_mqtt_connections_refused_total{listener="devices",reason="connections"';
      expect(await metric(role, refused)).toBe(1);
      await Promise.all(clients.map((client) => client.endAsync()));
    } finally {
      await role.kill();
    }
  });

  it('take up new certificates without a restart, and keep the old when the new are broken', async () => {
    const [cert, key] = [path('in-use.crt'), path('in-use.key')];
    copyFileSync(path('servers/server/tls.crt'), cert);
    copyFileSync(path('servers/server/tls.key'), key);
    const role = await start('renewal', {
      'mqtt-listen': [{ url: 'mqtts://127.0.0.1:0', cert, key }],
    });
    try {
      const shown = (): Promise<string> => fingerprint(role.address('mqtts'));
      const before = await shown();
      const open = await connect(`mqtts://${role.address('mqtts')}`, { clientId: 'open' });

      // One half is written: what was there stays in use.
      await robustmq('cluster', 'certs', '--out', path('servers'), '--renew');
      copyFileSync(path('servers/server/tls.crt'), cert);
      role.signal('SIGHUP');
      const failures = 'robustmq_mqtt_certificate_renewals_failed_total{listener="mqtts"';
      await expect.poll(() => metric(role, failures), patiently).toBeGreaterThan(0);
      expect(role.log.join('\n')).toMatch(/in-use\.key does not belong to.*old ones stay in use/);
      expect(await shown()).toBe(before);

      copyFileSync(path('servers/server/tls.key'), key);
      role.signal('SIGHUP');
      await expect.poll(shown, patiently).not.toBe(before);
      expect(
        await metric(role, 'robustmq_mqtt_certificate_expiry_timestamp_seconds{listener="mqtts"'),
      ).toBeGreaterThan(Date.now() / 1000);
      await open.publishAsync('t', 'still there', { qos: 1 });
      await open.endAsync();
      const after = await connect(`mqtts://${role.address('mqtts')}`);
      await after.endAsync();
    } finally {
      await role.kill();
    }
  });
});

describe('a listener that cannot be opened', () => {
  const refused = async (listen: string): Promise<string> => {
    const free = ['--listen', '127.0.0.1:0', '--http-listen', 'off', '--data-dir', path('refused')];
    const { code, stderr } = await robustmq('start', '--mqtt-listen', listen, ...free);
    expect(code).toBe(1);
    return stderr;
  };

  it('says which file is wrong', async () => {
    const server = path('servers/server');
    expect(await refused(`mqtts://127.0.0.1:0?cert=/none.crt&key=${server}/tls.key`)).toMatch(
      /^robustmq: \/none\.crt cannot be read: ENOENT/,
    );
    const client = path('clients/device-7');
    expect(
      await refused(`mqtts://127.0.0.1:0?cert=${server}/tls.crt&key=${client}/tls.key`),
    ).toMatch(/^robustmq: .*device-7\/tls\.key does not belong to .*server\/tls\.crt/);
    const pair = `cert=${server}/tls.crt&key=${server}/tls.key`;
    expect(await refused(`mqtts://127.0.0.1:0?${pair}&client-ca=${server}/tls.crt`)).toMatch(
      /^robustmq: .*tls\.crt has a certificate that is none of an authority: .*server/,
    );
  });

  it('says that the network would have it, and what to do', async () => {
    expect(await refused('0.0.0.0:0')).toMatch(
      /^robustmq: --mqtt-listen 0\.0\.0\.0:0 is open to the network.*auth=anonymous/,
    );
  });
});
