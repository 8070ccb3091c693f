import type { Logger } from '@robustmq/core';
import type { SimProcess } from './sim-process.ts';

interface Segment {
  readonly replicas?: number;
  readonly ackQuorum?: number;
  readonly segment?: string;
}

/** What placement says when disks have taken more than a segment had copies. */
const lastReplica = 'the last full replica of a segment is lost';

/** What a journal says of its own. */
const damaged = 'replica damaged';

/** With as many replicas as the ack quorum, one disk that lies may take what it alone had when it was sealed. */
function isBare({ replicas = 0, ackQuorum = 0 }: Segment): boolean {
  return replicas <= ackQuorum;
}

/** Log lines of a process stand in the readable trace. */
export function worldLogger(process: SimProcess): Logger {
  const { world } = process;
  const say = (level: string) => (fields: Segment, message: string) => {
    if (message.startsWith(lastReplica) && isBare(fields)) world.losesLast = true;
    const { segment } = fields;
    if (segment !== undefined && message.startsWith(damaged)) world.onDamage(process.name, segment);
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
