import type { Logger } from '@robustmq/core';

import type { LiveSession } from '../delivery/live-session.ts';

/** Says that subscriptions of a session get only what the rules allow name by name: no packet can tell the client. */
export function logMuted({ grant, mutedSubscriptions }: LiveSession, logger: Logger): void {
  if (mutedSubscriptions === 0) return;
  const fields = { clientId: grant.clientId, subscriptions: mutedSubscriptions };
  logger.info(fields, 'subscriptions are not covered by the rules any more');
}
