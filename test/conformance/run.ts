/**
 * `pnpm conformance clauses [--check]`: docs/mqtt-conformance.md from the tests' titles.
 */
import { makeDocument } from './document.ts';

const [command, ...args] = process.argv.slice(2);
const problems = makeDocument(args.includes('--check'));
for (const problem of problems) console.error(problem);
console.error(`${command}: ${problems.length} problems`);
process.exitCode = problems.length === 0 ? 0 : 1;
