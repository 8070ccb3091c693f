import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What became of one test of the suite. */
export interface SuiteTest {
  readonly test: string;
  readonly passed: boolean;
  readonly seconds: number;
  /** Traceback of a test that failed. */
  readonly wrong?: string;
}

/** The suite takes about four minutes; a test that hangs ends it. */
const timeoutMs = 15 * 60_000;
const driver = join(import.meta.dirname, 'drive.py');

/** Runs a file of the suite against the server at a port of this machine. */
export async function runSuiteFile(script: string, port: number): Promise<SuiteTest[]> {
  const folder = mkdtempSync(join(tmpdir(), 'robustmq-paho-'));
  const results = join(folder, 'results.jsonl');
  try {
    const printed = await runPython([driver, script, String(port), results]);
    return readTests(results, printed);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Resolves to what it has printed once it has ended. */
async function runPython(args: readonly string[]): Promise<string> {
  const child = spawn('python3', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const printed: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => printed.push(String(chunk)));
  }
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  clearTimeout(timer);
  return printed.join('');
}

function readTests(results: string, printed: string): SuiteTest[] {
  let lines: string[];
  try {
    lines = readFileSync(results, 'utf8').trim().split('\n');
  } catch {
    throw new Error(`the suite ran no test:\n${printed.slice(-2000)}`);
  }
  return lines.map((line) => JSON.parse(line) as SuiteTest);
}
