import { errorCodeOf, type ErrorHint, errorNumber, OperatingError } from '@robustmq/core';
import type { Status } from './generated/robustmq/v1/common.ts';

/** An operating error as a message, for answers that carry one result for each item. */
export function toStatus(error: OperatingError): Status {
  const hint = error.hint;
  return {
    code: errorNumber(error.code),
    message: error.message.toWellFormed(),
    hintNodeId: hint.nodeId ?? '',
    hintEpoch: hint.epoch ?? 0,
    retryAfterMs: Math.ceil(hint.retryAfterMs ?? 0),
    earliestOffset: hint.earliestOffset ?? 0,
  };
}

/** The operating error that a status with a code other than 0 stands for. */
export function errorOfStatus(status: Status): OperatingError {
  const code = errorCodeOf(status.code);
  const hint: ErrorHint = {
    ...(status.hintNodeId !== '' && { nodeId: status.hintNodeId }),
    ...(status.hintEpoch !== 0 && { epoch: status.hintEpoch }),
    ...(status.retryAfterMs !== 0 && { retryAfterMs: status.retryAfterMs }),
    // 0 is a legal first offset, so with this code it is never "not told".
    ...((status.earliestOffset !== 0 || code === 'OFFSET_OUT_OF_RANGE') && {
      earliestOffset: status.earliestOffset,
    }),
  };
  return new OperatingError(code, status.message, hint);
}

/** Why something was refused; undefined when the status is absent or its code is 0. */
export function refusalOf(status: Status | undefined): OperatingError | undefined {
  return status === undefined || status.code === 0 ? undefined : errorOfStatus(status);
}
