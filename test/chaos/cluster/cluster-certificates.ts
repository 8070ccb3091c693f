import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { checkTlsFiles, ClusterTls } from '@robustmq/rpc';

import { robustmq } from '../../integration/command.ts';

/** Who the test's own clients are. */
const clientName = 'chaos';

/**
 * Makes certificates in `folder` as `robustmq cluster certs` does: one for each role, in a folder of its name,
 * and the test's own. `hostOf` is the address of a role; undefined on loopback.
 */
export async function makeCertificates(
  folder: string,
  names: readonly string[],
  hostOf: (name: string) => string | undefined,
): Promise<ClusterTls> {
  const orders = names.map((name) => {
    const host = hostOf(name);
    return `${name.replace(/-\d+$/, '')}/${name}${host === undefined ? '' : `=${host}`}`;
  });
  const own = `broker+operator/${clientName}`;
  const made = await robustmq('cluster', 'certs', '--out', folder, ...orders, own);
  if (made.code !== 0) throw new Error(made.stderr);
  const read = (name: string) => ({
    name,
    content: readFileSync(join(folder, clientName, name), 'utf8'),
  });
  const certificate = read('tls.crt');
  const files = { authorities: read('ca.crt'), certificate, privateKey: read('tls.key') };
  return new ClusterTls(checkTlsFiles(files, Date.now()), []);
}
