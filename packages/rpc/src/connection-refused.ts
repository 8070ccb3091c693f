import type { OperatingError } from '@robustmq/core';

const refusals = /ECONNREFUSED|^nobody listens on /;

/**
 * Whether a call failed since nothing listens on the address: its host was reached and said so. Hosts
 * and names that cannot be reached or found are no such proof: the one who calls may be cut off.
 */
export function isConnectionRefused({ code, message }: OperatingError): boolean {
  return code === 'UNAVAILABLE' && refusals.test(message);
}
