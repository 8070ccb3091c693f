import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';

import { hostOf, portOf } from '@robustmq/core';
import {
  checkTlsFiles,
  ClusterTls,
  grpcTransport,
  type RpcClient,
  type TlsFiles,
} from '@robustmq/rpc';

import { Cluster } from '../harness/cluster.ts';
import { type Finished, robustmq } from './command.ts';

const journals = ['journal-1', 'journal-2', 'journal-3'];
const brokers = ['broker-1', 'broker-2'];
export const roles = ['placement', ...journals, ...brokers];

/** Placement, three journals and two brokers, with certificates as the command makes them. */
export class TlsCluster implements AsyncDisposable {
  /** Of the authority and of each holder: the roles by their names, and the operator `me`. */
  readonly folder: string;
  readonly cluster: Cluster;

  private constructor(folder: string, cluster: Cluster) {
    this.folder = folder;
    this.cluster = cluster;
  }

  static async start(): Promise<TlsCluster> {
    const folder = mkdtempSync(join(tmpdir(), 'robustmq-tls-'));
    const orders = roles.map((name) => `${name.replace(/-\d$/, '')}/${name}`);
    const made = await robustmq('cluster', 'certs', '--out', folder, ...orders, 'operator/me');
    if (made.code !== 0) throw new Error(made.stderr);
    return new TlsCluster(folder, await Cluster.start({ journals: 3, brokers: 2, tlsDir: folder }));
  }

  path(...names: string[]): string {
    return join(this.folder, ...names);
  }

  grpcOf(name: string): string {
    return this.cluster.role(name).address('grpc');
  }

  /** An administration command, with whatever certificate `args` names. */
  admin(...args: string[]): Promise<Finished> {
    return robustmq(...args, '--placement', this.grpcOf('placement'));
  }

  asOperator(...args: string[]): Promise<Finished> {
    return this.admin(...args, '--cluster-tls-dir', this.path('me'));
  }

  /** A client of role `name` that shows the certificate of `holder`. */
  connectAs(holder: string, name: string): RpcClient {
    const read = (file: string): TlsFiles['certificate'] => ({
      name: file,
      content: readFileSync(this.path(holder, file), 'utf8'),
    });
    const certificate = read('tls.crt');
    const files = { authorities: read('ca.crt'), certificate, privateKey: read('tls.key') };
    const tls = new ClusterTls(checkTlsFiles(files, Date.now()), []);
    return grpcTransport({ tls }).connect(this.grpcOf(name), 'control');
  }

  async metric(name: string, family: string): Promise<number> {
    const response = await fetch(`http://${this.cluster.role(name).address('http')}/metrics`);
    const line = (await response.text()).split('\n').find((each) => each.startsWith(family));
    return Number(line?.split(' ').at(-1));
  }

  /** Fingerprint of the certificate that role `name` shows to new callers. */
  async shownBy(name: string): Promise<string> {
    const address = this.grpcOf(name);
    const ca = readFileSync(this.path('ca.crt'));
    const socket = connectTls({ host: hostOf(address), port: portOf(address), ca });
    await once(socket, 'secureConnect');
    const { fingerprint256 } = socket.getPeerCertificate();
    socket.on('error', () => {});
    socket.destroy();
    return fingerprint256;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cluster[Symbol.asyncDispose]();
    rmSync(this.folder, { recursive: true });
  }
}
