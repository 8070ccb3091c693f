import type { Logger } from '@robustmq/core';
import { pino } from 'pino';

/** JSON lines on standard error: standard output is for what a person or a script waits for. */
export function createLogger(level: string, role?: string): Logger {
  const base = role === undefined ? {} : { role };
  const options = { level, base, timestamp: pino.stdTimeFunctions.isoTime };
  return pino(options, pino.destination({ dest: 2, sync: false }));
}
