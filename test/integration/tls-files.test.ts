import { checkTlsFiles, ClusterTls, type TlsFiles } from '@robustmq/rpc';
import { beforeAll, describe, expect, it } from 'vitest';

import { TestAuthority } from '../harness/certificates.ts';

let ours: TestAuthority;
let other: TestAuthority;
let files: TlsFiles;
beforeAll(async () => {
  ours = await TestAuthority.create();
  other = await TestAuthority.create();
  files = await ours.files('journal/journal-1');
});

function withContent(changed: Partial<Record<keyof TlsFiles, string>>): TlsFiles {
  const replaced = Object.entries(changed).map(([key, content]) => [
    key,
    { ...files[key as keyof TlsFiles], content },
  ]);
  return { ...files, ...(Object.fromEntries(replaced) as Partial<TlsFiles>) };
}

describe('TLS files', () => {
  it('that belong together tell who they make a process, and until when', () => {
    const checked = checkTlsFiles(files, Date.now());
    expect(checked.identity).toEqual({
      cluster: 'robustmq',
      name: 'journal-1',
      roles: ['journal'],
    });
    expect(checked.certificateUntilMs - Date.now()).toBeGreaterThan(364 * 86_400_000);
    expect(checked.authorityUntilMs).toBeGreaterThan(Date.now());
  });

  it('may name several authorities, so that they can be changed one after the other', async () => {
    const both = withContent({ authorities: `${other.certificate}\n${ours.certificate}` });
    expect(checkTlsFiles(both, Date.now()).identity.name).toBe('journal-1');
  });

  const broken: [string, () => TlsFiles | Promise<TlsFiles>, RegExp][] = [
    ['no certificate', () => withContent({ certificate: '' }), /^tls\.crt has no certificate/],
    [
      'half of one',
      () => withContent({ certificate: cut(files.certificate.content) }),
      /^tls\.crt/,
    ],
    ['no authority', () => withContent({ authorities: 'x' }), /^ca\.crt has no certificate in PEM/],
    [
      'a certificate for the authority',
      () => withContent({ authorities: files.certificate.content }),
      /^ca\.crt has a certificate that is none of an authority: CN=journal-1/,
    ],
    ['no key', () => withContent({ privateKey: 'x' }), /^tls\.key has no private key/],
    [
      'the key of another',
      async () => withContent({ privateKey: (await ours.files('journal/x')).privateKey.content }),
      /^tls\.key does not belong to tls\.crt/,
    ],
    [
      'another authority',
      () => withContent({ authorities: other.certificate }),
      /^tls\.crt was not issued by an authority in ca\.crt/,
    ],
    [
      'an expired certificate',
      () => ours.files('journal/x', { from: -10, until: -1 }),
      /^tls\.crt expired on .*--renew/,
    ],
    [
      'one for later',
      () => ours.files('journal/x', { from: 1, until: 2 }),
      /^tls\.crt is valid from .* is the clock right/,
    ],
  ];
  it.each(broken)('with %s are refused, by name', async (_what, make, message) => {
    const given = await make();
    expect(() => checkTlsFiles(given, Date.now())).toThrow(message);
  });
});

describe('what a process shows', () => {
  it('has to have the roles that it needs, also when it is replaced', async () => {
    const checked = checkTlsFiles(files, Date.now());
    expect(() => new ClusterTls(checked, ['broker'])).toThrow('needs the role broker');
    const tls = new ClusterTls(checked, ['journal']);
    const broker = checkTlsFiles(await ours.files('broker/b'), Date.now());
    expect(() => tls.replace(broker)).toThrow('needs the role journal');
    expect(tls.current).toBe(checked);
  });

  it('stays in its cluster', async () => {
    const tls = new ClusterTls(checkTlsFiles(files, Date.now()), ['journal']);
    const elsewhere = await TestAuthority.create('elsewhere');
    const foreign = checkTlsFiles(await elsewhere.files('journal/journal-1'), Date.now());
    expect(() => tls.replace(foreign)).toThrow('cluster elsewhere');
  });
});

function cut(text: string): string {
  return `${text.slice(0, text.length / 2)}\n-----END CERTIFICATE-----`;
}
