import { OperatingError } from '@robustmq/core';

/** Placement knows less than was heard of it before; `what` says by what that is seen. */
export function oldPlacement(what: string): OperatingError {
  const message = `${what}: its data folder is an old copy; stop it, and start the newer one or run "robustmq placement rebuild"`;
  return new OperatingError('CONFLICT', message);
}
