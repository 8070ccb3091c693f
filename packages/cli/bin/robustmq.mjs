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
// Types are stripped and code is compiled once, not at every start.
module.enableCompileCache();
const { main } = await import('../src/main.ts');
await main(process.argv.slice(2));
