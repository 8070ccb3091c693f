import { AssertionFailure } from '@robustmq/core';

/** What to do with a broken invariant that a handler has run into. */
export type BugHandler = (bug: AssertionFailure) => void;

/** Throws outside of every call stack, where nothing catches it: the process ends. */
export const endProcess: BugHandler = (bug) => {
  queueMicrotask(() => {
    throw bug;
  });
};

/** Hands a bug to `onBug`; tells whether it was one. */
export function isBug(thrown: unknown, onBug: BugHandler): boolean {
  if (!(thrown instanceof AssertionFailure)) return false;
  onBug(thrown);
  return true;
}
