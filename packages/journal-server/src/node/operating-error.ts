import { AssertionFailure, type OperatingError, toOperatingError } from '@robustmq/core';

/** What was thrown, as an answer. A failed assertion is a bug: it is thrown on, and ends the process. */
export function operatingErrorOf(thrown: unknown): OperatingError {
  if (thrown instanceof AssertionFailure) throw thrown;
  return toOperatingError(thrown);
}
