/** Rows of docs/style.md, lowest first. A package imports only from rows below its own. */
const rows: readonly (readonly string[])[] = [
  ['core'],
  ['rpc', 'record-batch', 'auth', 'kafka-protocol', 'amqp-protocol'],
  ['placement-client'],
  ['journal-client'],
  ['kernel'],
  ['mqtt', 'kafka', 'amqp'],
  ['broker', 'journal-server', 'placement'],
  ['cli'],
];

/** Only tests import these. */
const testOnly = ['testkit', 'test'];

export interface SourceFile {
  /** Path from the repository's root, with `/`. */
  readonly path: string;
  readonly text: string;
}

/** What breaks the layer rules, one line each; empty when nothing does. */
export function layerViolations(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) => {
    const own = /^packages\/([^/]+)\//.exec(file.path)?.[1];
    if (own === undefined || testOnly.includes(own) || isTestCode(file.path)) return [];
    return importsOf(file.text).flatMap((target) => {
      const reason = whyForbidden(own, target);
      return reason === undefined ? [] : [`${file.path} imports ${target}: ${reason}`];
    });
  });
}

/** Tests, and what only tests import: fixtures and the clusters that they build. */
function isTestCode(path: string): boolean {
  return /[.-](?:test|fixture)\.ts$|\/test-[a-z-]+\.ts$/.test(path);
}

/** Module names that a file imports or re-exports. */
export function importsOf(text: string): string[] {
  const pattern = /(?:\bfrom|\bimport)\s*\(?\s*'([^']+)'/g;
  return [...text.matchAll(pattern)].map((match) => match[1] ?? '');
}

function whyForbidden(own: string, target: string): string | undefined {
  const match = /^@robustmq\/([^/]+)(\/.*)?$/.exec(target);
  if (!match) {
    return /(^|\/)packages\//.test(target) ? 'packages are imported by name' : undefined;
  }
  const [, name = '', inside] = match;
  if (inside !== undefined) return 'src/index.ts is the only door of a package';
  if (testOnly.includes(name)) return 'only tests use it';
  const from = rowOf(own);
  const to = rowOf(name);
  if (from < 0) return `package ${own} stands in no row of test/layers.ts`;
  if (to < 0) return `package ${name} stands in no row of test/layers.ts`;
  return to < from ? undefined : `row ${to} is not below row ${from}`;
}

function rowOf(name: string): number {
  return rows.findIndex((row) => row.includes(name));
}

/** I/O and clocks that stand outside the shells (docs/style.md, "State, time and I/O"). */
const forbiddenText: readonly { readonly what: RegExp; readonly name: string }[] = [
  { what: /\bDate\.now\(|\bnew Date\(\)/, name: 'the clock (take core Clock)' },
  { what: /\b(?:setTimeout|setInterval)\(/, name: 'timers (take core Clock)' },
  { what: /\bMath\.random\(/, name: 'randomness (take core Random)' },
  {
    what: /^import (?!type\b).*from 'node:fs(?:\/promises)?'/m,
    name: 'the disk (take the Disk port)',
  },
  { what: /^import (?!type\b).*from 'node:net'/m, name: 'the network (take a Transport)' },
];

/** Files that are the thin shells, each with what it may use. */
const shells: Readonly<Record<string, readonly string[]>> = {
  'packages/auth/src/guard/address-set.ts': ['the network'],
  'packages/auth/src/store/node-text-files.ts': ['the disk'],
  'packages/core/src/clock.ts': ['the clock', 'timers'],
  'packages/core/src/random.ts': ['randomness'],
  'packages/journal-server/src/storage/node-disk.ts': ['the disk'],
  'packages/mqtt/src/listener/ip-address.ts': ['the network'],
  'packages/mqtt/src/listener/mqtt-listener.ts': ['the network'],
  'packages/placement/src/store/sqlite-store.ts': ['the disk'],
  'packages/rpc/src/tls/channel-credentials.ts': ['the network'],
};

/** Uses of clocks, randomness and I/O outside the shells, one line each. */
export function purityViolations(files: readonly SourceFile[]): string[] {
  return files
    .filter((file) => file.path.startsWith('packages/') && !isTestCode(file.path))
    .filter((file) => !/^packages\/(cli|testkit|rpc\/src\/generated)\//.test(file.path))
    .flatMap((file) =>
      forbiddenText
        .filter(({ what, name }) => what.test(file.text) && !isAllowed(file.path, name))
        .map(({ name }) => `${file.path} uses ${name}`),
    );
}

function isAllowed(path: string, name: string): boolean {
  return (shells[path] ?? []).some((allowed) => name.startsWith(allowed));
}
