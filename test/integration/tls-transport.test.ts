import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls, type PeerCertificate } from 'node:tls';

import { hostOf, type Logger, OperatingError, portOf, silentLogger } from '@robustmq/core';
import {
  accessRules,
  type AccessRules,
  checkTlsFiles,
  type ClusterTls,
  grpcTransport,
  type Method,
  type RpcServer,
  type TierRole,
  tierRoles,
} from '@robustmq/rpc';
import {
  askParcel,
  exchangeParcels,
  parcel,
  type Parcel,
  transportConformance,
} from '@robustmq/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { TestAuthority } from '../harness/certificates.ts';

/** As long as a test may take. */
const patiently = { timeout: 50_000 };

const authority = await TestAuthority.create();
const everybody = { servedBy: 'journal', callers: tierRoles } as const;
const parcelRules: AccessRules = new Map([
  [askParcel.path, everybody],
  [exchangeParcels.path, everybody],
]);
const journal = await authority.tls('journal/journal-1');

transportConformance('gRPC with mutual TLS', {
  makeTransport: (options) => grpcTransport({ ...options, tls: journal, access: parcelRules }),
  copies: true,
});

const told: string[] = [];
const logger: Logger = {
  ...silentLogger(),
  warn: (fields, message) => told.push(`${message} ${JSON.stringify(fields)}`),
};
let server: RpcServer;
let serverTls: ClusterTls;
beforeEach(async () => {
  told.length = 0;
  serverTls = await authority.tls('journal/journal-1');
  const transport = grpcTransport({ tls: serverTls, access: parcelRules, logger, graceMs: 10 });
  server = await transport.listen('127.0.0.1:0', (registry) => {
    registry.unary(askParcel, (request, { caller }) => ({
      ...request,
      data: Buffer.from(caller?.name ?? ''),
    }));
  });
});
afterEach(() => server[Symbol.asyncDispose]());

/** The caller's name as the server has it, or why there is no answer. */
async function ask(tls: ClusterTls | undefined, address = server.address): Promise<string> {
  const transport = grpcTransport({ tls, access: parcelRules });
  await using client = transport.connect(address, 'control');
  try {
    return (await client.call(askParcel, parcel(1))).data.toString();
  } catch (thrown) {
    if (!(thrown instanceof OperatingError)) throw thrown;
    return `${thrown.code}: ${thrown.message}`;
  }
}

describe('a server', () => {
  it('knows its caller by its certificate', async () => {
    expect(await ask(await authority.tls('broker/broker-7'))).toBe('broker-7');
  });

  it('refuses a caller without TLS, and the log says so once', async () => {
    expect(await ask(undefined)).toMatch(/^UNAVAILABLE/);
    expect(await ask(undefined)).toMatch(/^UNAVAILABLE/);
    await expect.poll(() => told, patiently).toHaveLength(1);
    expect(told[0]).toMatch(
      /a connection was refused.*"peer":"127\.0\.0\.1".*WRONG_VERSION_NUMBER/,
    );
    expect(serverTls.refused.connections).toBeGreaterThan(0);
  });

  it('refuses a caller without a certificate', async () => {
    const { address } = server;
    const [host, port, ca] = [hostOf(address), portOf(address), authority.certificate];
    const socket = connectTls({ host, port, ca, ALPNProtocols: ['h2'] });
    let received = 0;
    socket.on('data', (chunk: Buffer) => (received += chunk.length));
    socket.on('error', () => {});
    await new Promise((closed) => socket.once('close', closed));
    expect(received).toBe(0);
    await expect.poll(() => told.join(), patiently).toContain('a connection was refused');
  });

  it('refuses a certificate of another authority', async () => {
    const other = await TestAuthority.create();
    const files = await other.files('broker/broker-1');
    // It believes the server, so that the server has to say no.
    const both = `${authority.certificate}\n${other.certificate}`;
    const authorities = { name: 'ca.crt', content: both };
    const checked = checkTlsFiles({ ...files, authorities }, Date.now());
    const tls = await other.tls('broker/broker-1');
    tls.replace(checked);
    expect(await ask(tls)).toMatch(/^(UNAVAILABLE|INDETERMINATE)/);
    await expect.poll(() => told.join(), patiently).toMatch(/refused.*(SELF_SIGNED|UNABLE_TO)/);
  });

  it('refuses an expired certificate', async () => {
    const expired = await authority.tls('broker/broker-1', { from: -10, until: -1 });
    expect(await ask(expired)).toMatch(/^(UNAVAILABLE|INDETERMINATE)/);
    await expect.poll(() => told.join(), patiently).toContain('CERT_HAS_EXPIRED');
  });

  it('does not wait for a caller that never begins its handshake when it shuts down', async () => {
    const socket = connectTcp(portOf(server.address), hostOf(server.address)).resume();
    await once(socket, 'connect');
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => {});
    await server[Symbol.asyncDispose]();
    await closed;
    // Else the end of the time for a handshake would have been told.
    expect(told).toEqual([]);
  });

  it('refuses another cluster of the same authority', async () => {
    const elsewhere = await authority.tls('broker/broker-1');
    Reflect.set(elsewhere.current.identity, 'cluster', 'elsewhere');
    expect(await ask(elsewhere)).toMatch('not a server of cluster elsewhere');
  });
});

describe('a client', () => {
  it('refuses a server under a name that its certificate does not have', async () => {
    const address = `127.0.0.2:${portOf(server.address)}`;
    const transport = grpcTransport({ tls: serverTls });
    await using _elsewhere = await transport.listen(address, () => undefined);
    expect(await ask(journal, address)).toMatch(/^UNAVAILABLE.*127\.0\.0\.2/);
  });

  it('refuses a server of another authority', async () => {
    const other = await TestAuthority.create();
    expect(await ask(await other.tls('broker/broker-1'))).toMatch(/^UNAVAILABLE.*self-signed/);
  });

  it('refuses a server without the role that serves the call, on an open connection, too', async () => {
    const placed = { servedBy: 'placement', callers: tierRoles } as const;
    const mixed: AccessRules = new Map([...parcelRules, [exchangeParcels.path, placed]]);
    const transport = grpcTransport({ tls: journal, access: mixed });
    const exchange = async (first: boolean): Promise<OperatingError | undefined> => {
      await using client = transport.connect(server.address, 'control');
      if (!first) await client.call(askParcel, parcel(1));
      return await new Promise((closed) => client.open(exchangeParcels, { message() {}, closed }));
    };
    for (const first of [true, false]) {
      expect((await exchange(first))?.message).toMatch('is journal journal-1 of cluster robustmq');
    }
  });
});

describe('roles and methods', () => {
  const methods: Method<Parcel, Parcel>[] = [...accessRules.keys()].map((path) => ({
    ...askParcel,
    path,
  }));

  it.each(tierRoles)('what the role %s may call, and nothing else', async (role) => {
    const all = await authority.tls('placement+journal+broker/all');
    const transport = grpcTransport({ tls: all, logger });
    await using everything = await transport.listen('127.0.0.1:0', (registry) => {
      for (const method of methods) registry.unary(method, (request) => request);
    });
    const callers = grpcTransport({ tls: await authority.tls(`${role}/caller`) });
    await using client = callers.connect(everything.address, 'control');
    const allowed: string[] = [];
    for (const method of methods) {
      try {
        await client.call(method, parcel(1));
        allowed.push(method.path.replace('/robustmq.v1.', ''));
      } catch (thrown) {
        expect(thrown).toMatchObject({ code: 'NOT_AUTHORIZED' });
        expect(String(thrown)).toMatch(
          `${role} caller of cluster robustmq may not call ${method.path}: it needs the role `,
        );
      }
    }
    expect(allowed.toSorted()).toEqual(expected[role].toSorted());
    expect(told).toHaveLength(methods.length - allowed.length);
    const [refused] = methods.filter(({ path }) => !allowed.includes(path.slice(13)));
    if (refused !== undefined) await client.call(refused, parcel(1)).catch(() => undefined);
    expect(told).toHaveLength(methods.length - allowed.length);
  });
});

/** Written out, so that a change of the rules has to be meant. */
const nodeCalls = ['Heartbeat', 'Watch', 'ResolveShards', 'ListSegments', 'ReportUnreachable'].map(
  (name) => `PlacementNode/${name}`,
);
const logCalls = ['Append', 'Read', 'Tail', 'ListOffsets'].map((name) => `JournalBroker/${name}`);
const topicCalls = ['CreateTopics', 'DeleteTopics', 'AlterTopic', 'DescribeCluster'].map(
  (name) => `PlacementAdmin/${name}`,
);
const orders =
  'Prepare Activate Fence Recover SealNotify Delete Inventory StoreCatalog ReadCatalog Probe'.split(
    ' ',
  );
const brokerCalls =
  'ListClients KickClient ListSubscriptions ListSlowClients Trace ListRetained ClearRetained'.split(
    ' ',
  );
const expected: Record<TierRole, string[]> = {
  placement: [...orders.map((name) => `JournalControl/${name}`), 'BrokerPeer/Probe'],
  journal: [
    ...nodeCalls,
    'PlacementNode/PrepareRolls',
    'PlacementNode/RollSegments',
    ...['Replicate', 'Fetch', 'ExportProducers'].map((name) => `JournalReplica/${name}`),
  ],
  broker: [
    ...nodeCalls,
    ...['OpenSegments', 'AllocateProducerIds', 'TrimShards', 'HoldShards'].map(
      (name) => `PlacementNode/${name}`,
    ),
    ...topicCalls,
    ...logCalls,
    'BrokerPeer/Coordinate',
    'BrokerPeer/Probe',
  ],
  operator: [
    ...topicCalls,
    ...['SealShard', 'DrainNode', 'RemoveNode'].map((name) => `PlacementAdmin/${name}`),
    'PlacementNode/ListSegments',
    ...logCalls,
    'JournalAdmin/DescribeReplicas',
    'JournalAdmin/Scrub',
    ...brokerCalls.map((name) => `BrokerAdmin/${name}`),
  ],
};

describe('a renewed certificate', () => {
  it('is shown to new connections, while those that are open go on', async () => {
    const caller = await authority.tls('broker/before');
    const transport = grpcTransport({ tls: caller, access: parcelRules });
    await using open = transport.connect(server.address, 'control');
    const askOpen = async (): Promise<string> =>
      (await open.call(askParcel, parcel(1))).data.toString();
    expect(await askOpen()).toBe('before');
    const before = await certificateShown();

    serverTls.replace((await authority.tls('journal/journal-1')).current);
    caller.replace((await authority.tls('broker/after')).current);
    expect(await askOpen()).toBe('before');
    expect((await certificateShown()).fingerprint256).not.toBe(before.fingerprint256);
    expect(await ask(caller)).toBe('after');
  });

  it('of another authority is believed once its authority is', async () => {
    const next = await TestAuthority.create();
    const both = { name: 'ca.crt', content: `${authority.certificate}\n${next.certificate}` };
    const files = await next.files('broker/moved');
    const moved = await next.tls('broker/moved');
    moved.replace(checkTlsFiles({ ...files, authorities: both }, Date.now()));
    expect(await ask(moved)).toMatch(/^(UNAVAILABLE|INDETERMINATE)/);
    const own = await authority.files('journal/journal-1');
    serverTls.replace(checkTlsFiles({ ...own, authorities: both }, Date.now()));
    expect(await ask(moved)).toBe('moved');
  });
});

async function certificateShown(): Promise<PeerCertificate> {
  const { address } = server;
  const ca = authority.certificate;
  const socket = connectTls({ host: hostOf(address), port: portOf(address), ca });
  await once(socket, 'secureConnect');
  const shown = socket.getPeerCertificate();
  socket.on('error', () => {});
  socket.destroy();
  return shown;
}
