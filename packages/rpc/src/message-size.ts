import { limits, OperatingError } from '@robustmq/core';

/** Throws BATCH_TOO_LARGE when a message of `bytes` may not travel. */
export function checkMessageSize(path: string, bytes: number): void {
  if (bytes <= limits.grpcMessageBytesMax) return;
  throw new OperatingError(
    'BATCH_TOO_LARGE',
    `a message of ${bytes} bytes for ${path} is above the limit of ` +
      `${limits.grpcMessageBytesMax}; send it in parts`,
  );
}
