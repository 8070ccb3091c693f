import type { Logger } from '@robustmq/core';
import { collectDefaultMetrics, Registry } from 'prom-client';

/** A registry with Node's own metrics in it. */
export function processMetrics(role: string): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ role });
  collectDefaultMetrics({ register: registry });
  return registry;
}

/**
 * Resolves at SIGTERM or SIGINT: the caller then drains. A second signal ends at once. To be called
 * before anything starts: as the first process of a container one without a handler is not ended by it.
 */
export function untilSignal(logger: Logger): Promise<void> {
  return new Promise((resolve) => {
    const stop = (signal: NodeJS.Signals): void => {
      logger.info({ signal }, 'stopping');
      process.once('SIGINT', () => process.exit(130));
      process.once('SIGTERM', () => process.exit(143));
      resolve();
    };
    const first = (signal: NodeJS.Signals): void => {
      process.off('SIGINT', first);
      process.off('SIGTERM', first);
      stop(signal);
    };
    process.on('SIGINT', first);
    process.on('SIGTERM', first);
  });
}
