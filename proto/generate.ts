/**
 * Makes packages/rpc/src/generated from the .proto files. With `--check` it makes them in a folder
 * beside it and fails when the committed ones differ.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const protoFolder = import.meta.dirname;
const committed = join(protoFolder, '../packages/rpc/src/generated');
const buf = join(protoFolder, '../node_modules/.bin/buf');

function generate(into: string): void {
  const template = readFileSync(join(protoFolder, 'buf.gen.yaml'), 'utf8')
    .replace('../packages/rpc/src/generated', into)
    .replace('../node_modules', join(protoFolder, '../node_modules'));
  const json = JSON.stringify(parseTemplate(template));
  execFileSync(buf, ['generate', '--template', json], { cwd: protoFolder, stdio: 'inherit' });
}

/** The template as buf takes it on the command line; it is a list of one plugin with options. */
function parseTemplate(template: string): object {
  const value = (name: string): string =>
    new RegExp(`${name}: (\\S+)`).exec(template)?.[1] ?? fail(`buf.gen.yaml has no ${name}`);
  const options = [...template.matchAll(/^ +- (\w+=\S+)$/gm)].map((match) => match[1]);
  return {
    version: 'v2',
    plugins: [{ local: value('local'), out: value('out'), opt: options }],
  };
}

function fail(message: string): never {
  throw new Error(message);
}

function files(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .toSorted();
}

if (process.argv.includes('--check')) {
  const fresh = mkdtempSync(join(tmpdir(), 'robustmq-generated-'));
  try {
    execFileSync(buf, ['lint'], { cwd: protoFolder, stdio: 'inherit' });
    generate(fresh);
    const stale = new Set([...files(fresh), ...files(committed)]);
    for (const name of stale) {
      try {
        const same =
          readFileSync(join(fresh, name), 'utf8') === readFileSync(join(committed, name), 'utf8');
        if (same) stale.delete(name);
      } catch {
        continue; // Only on one side: stale.
      }
    }
    if (stale.size > 0) {
      console.error(`generated code is stale: ${[...stale].join(', ')}; run: pnpm generate`);
      process.exitCode = 1;
    }
  } finally {
    rmSync(fresh, { recursive: true });
  }
} else {
  rmSync(committed, { recursive: true, force: true });
  generate(committed);
}
