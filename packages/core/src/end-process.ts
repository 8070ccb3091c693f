import type { Logger } from './logger.ts';

/** Says why a role cannot go on, and throws where nothing catches it: the process ends, another takes over. */
export function endProcess(logger: Logger, role: string): (error: Error) => void {
  return (error) => {
    logger.error({ error: error.message }, `the ${role} cannot go on`);
    queueMicrotask(() => {
      throw error;
    });
  };
}
