#!/usr/bin/env node
import module from 'node:module';

// Plain JavaScript, so that any Node can say what is wrong. libuv reads the pool's size at its first use.
process.env.UV_THREADPOOL_SIZE ??= '16';

const major = Number(process.versions.node.split('.')[0]);
if (major < 24) {
  console.error(
    `robustmq needs Node 24 or newer, this is ${process.versions.node}. ` +
      'In a checkout "npx pnpm robustmq ..." brings its own; elsewhere install Node 24.',
  );
  process.exit(1);
}
// V8 counts every buffer that a message passes through, and with its own settings marks the whole heap
// after each 10 MiB of them, on as many threads as there are cores. More room between full collections
// and a small young generation, whose cheap ones come often enough to free those buffers, keep full
// ones rare, and bound what tens of thousands of idle connections leave behind. Only a new start of the
// same process can set them. Flags that were given win, those of NODE_OPTIONS too: V8 reads them before
// the command line, which would undo them.
const memoryFlags =
  process.argv[2] === 'journal'
    ? ['--max-semi-space-size=4', '--heap-growing-percent=300']
    : ['--max-semi-space-size=8', '--heap-growing-percent=100'];
// Without it every 64 MiB of buffers are followed by a full collection, whatever the growth that is
// allowed: half of a journal's time under load. Other versions may not know it, and would not start.
if (process.argv[2] === 'journal' && major === 24) {
  memoryFlags.push('--external-memory-accounted-in-global-limit');
}
// V8 takes `_` for `-`.
const nameOf = (flag) => flag.split('=', 1)[0].replaceAll('_', '-');
const fromEnvironment = (process.env.NODE_OPTIONS ?? '').split(/\s+/);
const given = new Set([...process.execArgv, ...fromEnvironment].map(nameOf));
const missing = memoryFlags.filter((flag) => !given.has(nameOf(flag)));
if (missing.length > 0 && process.execve !== undefined) {
  const flags = [...process.execArgv, ...missing, '--disable-warning=ExperimentalWarning'];
  process.execve(process.execPath, [process.execPath, ...flags, ...process.argv.slice(1)]);
}
// Types are stripped and code is compiled once, not at every start.
module.enableCompileCache();
const { main } = await import('../src/main.ts');
await main(process.argv.slice(2));
