import { createInterface } from 'node:readline';

import { OperatingError } from '@robustmq/core';

/**
 * Asks for `word` to be typed before something that cannot be undone; `--yes` is as good. The question
 * goes to standard error. Throws CANCELLED, with nothing done, when something else comes, or the end.
 */
export async function confirm(
  word: string,
  flags: Readonly<Record<string, unknown>>,
): Promise<void> {
  if (flags['yes'] === true) return;
  process.stderr.write(`Type ${word} to go on: `);
  const typed = await firstLine();
  if (typed?.trim() === word) return;
  throw new OperatingError('CANCELLED', `${word} was not typed: nothing was done`);
}

async function firstLine(): Promise<string | undefined> {
  const lines = createInterface({ input: process.stdin });
  try {
    for await (const line of lines) return line;
    return undefined;
  } finally {
    lines.close();
  }
}
