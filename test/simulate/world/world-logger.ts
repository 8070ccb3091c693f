import type { Logger } from '@robustmq/core';
import type { SimProcess } from './sim-process.ts';

/** Log lines of a process stand in the readable trace. */
export function worldLogger(process: SimProcess): Logger {
  const { world } = process;
  const say = (level: string) => (fields: object, message: string) =>
    world.explain(() => `${process.name} ${level} ${message} ${JSON.stringify(fields)}`);
  const logger: Logger = {
    debug: () => {},
    info: say('says'),
    warn: say('WARNS'),
    error: say('ERROR'),
    child: () => logger,
  };
  return logger;
}
