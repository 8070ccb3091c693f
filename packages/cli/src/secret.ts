import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';

/** The first line of standard input. A terminal is asked with `prompt`, and does not show what is typed. */
export async function readSecret(prompt: string): Promise<string> {
  const { stdin, stderr } = process;
  if (!stdin.isTTY) return firstLine(createInterface({ input: stdin }));
  stderr.write(prompt);
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const line = await firstLine(createInterface({ input: stdin, output: nowhere, terminal: true }));
  stderr.write('\n');
  return line;
}

async function firstLine(lines: ReturnType<typeof createInterface>): Promise<string> {
  try {
    for await (const line of lines) return line;
    return '';
  } finally {
    lines.close();
  }
}
