import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';

import { type Clock, type Logger, OperatingError } from '@robustmq/core';
import type { ListenerTls, ServerCertificate, ServerCertificates } from '@robustmq/mqtt';

import { FileRenewal } from '../file-renewal.ts';
import type { ListenerFiles } from './listener-config.ts';

/** Contents by path. */
type Contents = ReadonlyMap<string, string>;

/** What a TLS listener shows its clients, and what it believes them by, renewed while it is in use. */
export class ListenerCertificates implements ListenerTls, Disposable {
  readonly clientCertificate: ListenerTls['clientCertificate'];
  readonly #files: ListenerFiles;
  readonly #clock: Clock;
  readonly #renewal: FileRenewal;
  readonly #tell: ((next: ServerCertificates) => void)[] = [];
  #contents: Contents;
  #current: ServerCertificates;

  /** Throws INVALID_ARGUMENT, with the file that is wrong. */
  constructor(files: ListenerFiles, options: { clock: Clock; logger: Logger }) {
    const optional = files.clientCertificateRequired ? 'required' : 'optional';
    this.clientCertificate = files.clientCa === undefined ? 'none' : optional;
    this.#files = files;
    this.#clock = options.clock;
    const paths = pathsOf(files);
    this.#contents = new Map(paths.map((path) => [path, read(path)]));
    this.#current = certificatesIn(files, this.#contents, options.clock.wallMs());
    this.#renewal = new FileRenewal(
      { paths, reload: () => this.#reload(paths), expiries: () => this.expiries() },
      options,
    );
  }

  get current(): ServerCertificates {
    return this.#current;
  }

  /** Changed files that could not be used. */
  get failedRenewals(): number {
    return this.#renewal.failures;
  }

  onReplaced(tell: (next: ServerCertificates) => void): void {
    this.#tell.push(tell);
  }

  expiries(): { file: string; untilMs: number }[] {
    return this.#current.map(({ certificate }, at) => ({
      file: this.#files.pairs[at]?.cert ?? '',
      untilMs: Date.parse(certificate.validTo),
    }));
  }

  [Symbol.dispose](): void {
    this.#renewal[Symbol.dispose]();
  }

  async #reload(paths: readonly string[]): Promise<boolean> {
    const contents = new Map(
      await Promise.all(paths.map(async (path) => [path, await load(path)] as const)),
    );
    if (paths.every((path) => contents.get(path) === this.#contents.get(path))) return false;
    const next = certificatesIn(this.#files, contents, this.#clock.wallMs());
    this.#contents = contents;
    this.#current = next;
    for (const tell of this.#tell) tell(next);
    return true;
  }
}

function pathsOf({ pairs, clientCa }: ListenerFiles): string[] {
  const paths = pairs.flatMap(({ cert, key }) => [cert, key]);
  return [...new Set(clientCa === undefined ? paths : [...paths, clientCa])];
}

function certificatesIn(
  { pairs, clientCa }: ListenerFiles,
  contents: Contents,
  nowMs: number,
): ServerCertificates {
  const authorities = clientCa === undefined ? undefined : contents.get(clientCa);
  if (authorities !== undefined) checkAuthorities(clientCa ?? '', authorities);
  const [first, ...others] = pairs.map((pair) =>
    serverCertificate(pair, contents, authorities, nowMs),
  );
  if (first === undefined) throw new OperatingError('INVALID_ARGUMENT', 'no certificate is given');
  return [first, ...others];
}

function serverCertificate(
  { cert, key }: { cert: string; key: string },
  contents: Contents,
  authorities: string | undefined,
  nowMs: number,
): ServerCertificate {
  const chain = contents.get(cert) ?? '';
  const privateKey = contents.get(key) ?? '';
  const certificate = readable(cert, 'no certificate in PEM', () => new X509Certificate(chain));
  const secret = readable(key, 'no private key in PEM', () => createPrivateKey(privateKey));
  if (!certificate.checkPrivateKey(secret)) throw wrong(key, `does not belong to ${cert}`);
  const { validFrom, validTo } = certificate;
  if (Date.parse(validTo) <= nowMs) throw wrong(cert, `expired on ${validTo}`);
  if (Date.parse(validFrom) > nowMs) {
    throw wrong(cert, `is valid from ${validFrom} only; is the clock right?`);
  }
  const contextOptions = {
    cert: chain,
    key: privateKey,
    ...(authorities !== undefined && { ca: authorities }),
  };
  readable(cert, 'nothing that TLS can use', () => createSecureContext(contextOptions));
  return { certificate, contextOptions };
}

const pemPattern = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

function checkAuthorities(file: string, content: string): void {
  const pems = content.match(pemPattern) ?? [];
  if (pems.length === 0) throw wrong(file, 'has no certificate in PEM');
  for (const pem of pems) {
    const { ca, subject } = readable(
      file,
      'a certificate that cannot be read',
      () => new X509Certificate(pem),
    );
    if (!ca) {
      const name = subject.replaceAll('\n', ', ');
      throw wrong(file, `has a certificate that is none of an authority: ${name}`);
    }
  }
}

function readable<T>(file: string, what: string, parse: () => T): T {
  try {
    return parse();
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    throw wrong(file, `has ${what}: ${reason}`);
  }
}

function wrong(file: string, reason: string): OperatingError {
  return new OperatingError('INVALID_ARGUMENT', `${file} ${reason}`);
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (thrown) {
    throw unreadable(file, thrown);
  }
}

/** Without waiting in the event loop: a file system that hangs hangs nothing else. */
async function load(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (thrown) {
    throw unreadable(file, thrown);
  }
}

function unreadable(file: string, thrown: unknown): OperatingError {
  const reason = thrown instanceof Error ? thrown.message : String(thrown);
  return wrong(file, `cannot be read: ${reason}`);
}
