import { TurnTask } from '@robustmq/core';

/** Resolves in a later turn of the event loop, so that heartbeats and answers go on meanwhile. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => new TurnTask(resolve).schedule());
}
