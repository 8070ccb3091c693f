import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { checkTlsFiles, ClusterTls, type TlsFiles } from '@robustmq/rpc';

import { Authority } from '../../packages/cli/src/certificates/authority.ts';
import { parseCertificateOrder } from '../../packages/cli/src/certificates/certificate-order.ts';

const dayMs = 86_400_000;

/** Validity in days from now; a negative start is in the past. */
export interface ValidDays {
  readonly from: number;
  readonly until: number;
}

const aYear: ValidDays = { from: -1, until: 365 };

/** A cluster's authority and what it issues, as `robustmq cluster certs` makes them, in memory. */
export class TestAuthority {
  readonly #authority: Authority;

  private constructor(authority: Authority) {
    this.#authority = authority;
  }

  static async create(cluster = 'robustmq'): Promise<TestAuthority> {
    const made = await Authority.create(cluster, validity({ from: -100, until: 365 }));
    return new TestAuthority(await Authority.load(made));
  }

  /** The one that `robustmq cluster certs` has made in a folder. */
  static async load(folder: string): Promise<TestAuthority> {
    const read = (name: string): string => readFileSync(join(folder, name), 'utf8');
    const made = { certificate: read('ca.crt'), privateKey: read('ca.key') };
    return new TestAuthority(await Authority.load(made));
  }

  get certificate(): string {
    return this.#authority.certificate;
  }

  /** `order` is as on the command line: ROLE/NAME=HOST,HOST. */
  async files(order: string, days: ValidDays = aYear): Promise<TlsFiles> {
    const issued = await this.#authority.issue(parseCertificateOrder(order), validity(days));
    return {
      authorities: { name: 'ca.crt', content: this.certificate },
      certificate: { name: 'tls.crt', content: issued.certificate },
      privateKey: { name: 'tls.key', content: issued.privateKey },
    };
  }

  /** Checked as of a time when it was valid. */
  async tls(order: string, days: ValidDays = aYear): Promise<ClusterTls> {
    const files = await this.files(order, days);
    return new ClusterTls(checkTlsFiles(files, validity(days).fromMs + dayMs / 2), []);
  }
}

function validity({ from, until }: ValidDays): { fromMs: number; untilMs: number } {
  const nowMs = Date.now();
  return { fromMs: nowMs + from * dayMs, untilMs: nowMs + until * dayMs };
}
