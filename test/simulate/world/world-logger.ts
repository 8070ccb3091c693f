import type { Logger } from '@robustmq/core';
import type { SimProcess } from './sim-process.ts';

/** What placement says when disks have taken more than a segment had copies. */
const lastReplica = 'the last full replica of a segment is lost';

/** Log lines of a process stand in the readable trace. */
export function worldLogger(process: SimProcess): Logger {
  const { world } = process;
  const say = (level: string) => (fields: object, message: string) => {
    if (message.startsWith(lastReplica)) world.losesLast = true;
    world.explain(() => `${process.name} ${level} ${message} ${JSON.stringify(fields)}`);
  };
  const logger: Logger = {
    debug: () => {},
    info: say('says'),
    warn: say('WARNS'),
    error: say('ERROR'),
    child: () => logger,
  };
  return logger;
}
