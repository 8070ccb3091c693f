import type { OperatingError } from '@robustmq/core';
import {
  FenceRequest,
  grpcTransport,
  HeartbeatRequest,
  type HeartbeatResponse,
  journalBrokerMethods,
  journalControlMethods,
  journalReplicaMethods,
  Node,
  NodeRole,
  placementNodeMethods,
} from '@robustmq/rpc';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { TestAuthority } from '../harness/certificates.ts';
import { type Finished, robustmq } from './command.ts';
import { connectMqtt, Inbox } from './mqtt-client.ts';
import { TlsCluster } from './tls-cluster.ts';

/** As long as a test may take. */
const patiently = { timeout: 50_000 };

let tiers: TlsCluster;
beforeAll(async () => {
  tiers = await TlsCluster.start();
});
afterAll(() => tiers[Symbol.asyncDispose]());

async function failure(call: Promise<unknown>): Promise<OperatingError> {
  return call.then(
    () => {
      throw new Error('it was not refused');
    },
    (thrown: OperatingError) => thrown,
  );
}

describe('a cluster with mutual TLS', () => {
  it('publishes at one broker and delivers at the other', async () => {
    const subscriber = await connectMqtt(tiers.cluster.mqtt('broker-2'));
    const publisher = await connectMqtt(tiers.cluster.mqtt('broker-1'));
    const inbox = new Inbox(subscriber);
    await subscriber.subscribeAsync('over/tls/#', { qos: 1 });
    const sent = Array.from({ length: 200 }, (_, index) => `message ${index}`);
    await Promise.all(sent.map((text) => publisher.publishAsync('over/tls/a', text, { qos: 1 })));
    await inbox.waitFor(sent.length);
    expect(inbox.payloads).toEqual(sent);
    await Promise.all([subscriber.endAsync(), publisher.endAsync()]);
  });

  it("is administered with an operator's certificate", async () => {
    const created = await tiers.asOperator('topic', 'create', 'orders', '--partitions', '2');
    expect(created).toMatchObject({ code: 0, stderr: '' });
    expect((await tiers.asOperator('topic', 'list')).stdout).toContain('orders');
    const status = await tiers.asOperator('status', '--json');
    expect(status.stderr).toBe('');
    const { problems, shards } = JSON.parse(status.stdout) as {
      problems: string[];
      shards: { topic: string; records?: number }[];
    };
    expect(problems).toEqual([]);
    expect(shards.length).toBeGreaterThan(0);
    // Ends of open segments, from the journals.
    expect((await tiers.asOperator('topic', 'list')).stdout).not.toContain('?');
    const segments = await tiers.asOperator('shard', 'describe', 'mqtt');
    expect(segments).toMatchObject({ code: 0, stderr: '' });
    expect(segments.stdout).not.toContain('away');
    expect(await tiers.asOperator('topic', 'delete', 'orders')).toMatchObject({
      code: 0,
      stderr: '',
    });
  });

  it('takes no command without a certificate, or with that of another role or cluster', async () => {
    const without = await tiers.admin('status');
    expect(without.code).toBe(1);
    expect(without.stderr).toMatch(/^robustmq: no connection to placement.*--cluster-tls-dir/);
    const broker = await tiers.admin('status', '--cluster-tls-dir', tiers.path('broker-1'));
    expect(broker.stderr).toMatch(/^robustmq: the certificate is broker broker-1 .* role operator/);
    const elsewhere = tiers.path('elsewhere');
    await robustmq('cluster', 'certs', '--out', elsewhere, 'operator/me');
    const foreign = await tiers.admin(
      'topic',
      'list',
      '--cluster-tls-dir',
      tiers.path('elsewhere/me'),
    );
    expect(foreign.stderr).toMatch(/^robustmq: no connection.*certificate of this cluster/);
  });

  it('lets a broker neither fence nor replicate, and says which role may', async () => {
    await using client = tiers.connectAs('broker-1', 'journal-1');
    const fence = (): Promise<OperatingError> =>
      failure(client.call(journalControlMethods.fence, FenceRequest.create()));
    const replicate = (): Promise<OperatingError | undefined> =>
      new Promise((closed) =>
        client.open(journalReplicaMethods.replicate, { message() {}, closed }),
      );
    const refusedBefore = await tiers.metric('journal-1', 'robustmq_tls_refused_calls_total');
    for (let time = 0; time < 2; time++) {
      const message = /^broker broker-1 of cluster robustmq may not call .* the role /;
      for (const [error, role] of [
        [await fence(), 'placement'],
        [await replicate(), 'journal'],
      ] as const) {
        expect(error).toMatchObject({ code: 'NOT_AUTHORIZED' });
        expect(error?.message).toMatch(new RegExp(`${message.source}${role}$`));
      }
    }
    expect(await tiers.metric('journal-1', 'robustmq_tls_refused_calls_total')).toBe(
      refusedBefore + 4,
    );
    const told = (): string[] =>
      tiers.cluster
        .role('journal-1')
        .log.filter((line) => line.includes('broker broker-1 of cluster'));
    await expect.poll(told, patiently).toHaveLength(2);
    // What it is for, it may.
    await client.call(journalBrokerMethods.listOffsets, { queries: [] });
  });

  it('registers nobody as what his certificate is not', async () => {
    await using client = tiers.connectAs('broker-1', 'placement');
    const answer = await new Promise<HeartbeatResponse>((message, reject) => {
      const stream = client.open(placementNodeMethods.heartbeat, { message, closed: reject });
      const node = Node.fromPartial({
        nodeId: 'journal-9',
        role: NodeRole.JOURNAL,
        address: '127.0.0.1:1',
        incarnation: 1,
      });
      stream.send(HeartbeatRequest.fromPartial({ node }));
    });
    expect(answer.status?.message).toBe(
      'broker broker-1 of cluster robustmq may not register as journal journal-9',
    );
  });

  it('refuses an expired certificate, one of another authority, and plaintext', async () => {
    // Placement's authority is on disk, so this one is another; the expired is made of the right one.
    const other = await TestAuthority.create();
    const expired = await TestAuthority.load(tiers.folder);
    for (const tls of [
      undefined,
      await other.tls('placement/placement'),
      await expired.tls('placement/placement', { from: -10, until: -1 }),
    ]) {
      await using client = grpcTransport({ tls }).connect(tiers.grpcOf('journal-1'), 'control');
      const probe = client.call(journalControlMethods.probe, {}, { timeoutMs: 20_000 });
      expect((await failure(probe)).code).toMatch(/^(UNAVAILABLE|INDETERMINATE)$/);
    }
    const log = (): string => tiers.cluster.role('journal-1').log.join('\n');
    await expect.poll(log, patiently).toContain('CERT_HAS_EXPIRED');
  });

  it('lets no role start with a certificate that is of another kind or host, or half of one', async () => {
    const start = (...args: string[]): Promise<Finished> =>
      robustmq('broker', '--mqtt-listen', 'off', '--http-listen', 'off', ...args);
    const asJournal = await start('--cluster-tls-dir', tiers.path('journal-1'));
    expect(asJournal.stderr).toMatch(/^robustmq: the certificate is journal .* the role broker/);
    const other = await start(
      '--cluster-tls-dir',
      tiers.path('broker-1'),
      '--listen',
      '127.0.0.9:0',
    );
    expect(other.stderr).toMatch(/^robustmq: the certificate does not name 127\.0\.0\.9,/);
    const half = await start('--cluster-tls-ca', tiers.path('ca.crt'));
    expect(half.stderr).toMatch(/^robustmq: TLS needs --cluster-tls-ca, --cluster-tls-cert and/);
    const nothing = await start('--cluster-tls-dir', tiers.path('nobody'));
    expect(nothing.stderr).toMatch(/^robustmq: .*nobody.ca\.crt cannot be read: ENOENT/);
  });
});
