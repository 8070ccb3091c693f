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
// V8 lets its young generation grow to hundreds of megabytes beside tens of thousands of idle
// connections; at this size it costs no throughput. Only a new start of the same process can set it.
const youngGeneration = '--max-semi-space-size=16';
const isSet = process.execArgv.some((flag) => flag.startsWith('--max-semi-space-size'));
if (!isSet && process.execve !== undefined) {
  const flags = [...process.execArgv, youngGeneration, '--disable-warning=ExperimentalWarning'];
  process.execve(process.execPath, [process.execPath, ...flags, ...process.argv.slice(1)]);
}
// Types are stripped and code is compiled once, not at every start.
module.enableCompileCache();
const { main } = await import('../src/main.ts');
await main(process.argv.slice(2));
