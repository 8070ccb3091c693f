import { makeDocument } from './document.ts';
import { runPaho } from './paho/paho.ts';

const usage = `pnpm conformance clauses [--check]   docs/mqtt-conformance.md from the tests' titles, or only whether it is fresh
pnpm conformance paho --suite DIR     Eclipse Paho's interoperability suite, of which DIR is a checkout
    [--broker-arg=ARG ...]            arguments for the brokers`;

const [command, ...args] = process.argv.slice(2);
if (command === 'clauses') {
  const problems = makeDocument(args.includes('--check'));
  for (const problem of problems) console.error(problem);
  process.exitCode = problems.length === 0 ? 0 : 1;
} else if (command === 'paho') {
  process.exitCode = (await runPaho(args)) === false ? 1 : 0;
} else {
  console.log(usage);
  process.exitCode = command === undefined ? 0 : 2;
}
