import { type ErrorCode, type ErrorHint, errorTable, OperatingError } from '@robustmq/core';
import { Metadata, type ServiceError, status } from '@grpc/grpc-js';

const codeKey = 'robustmq-code';
const hintKey = 'robustmq-hint';
/** Longer messages are cut: they travel in a header, percent-encoded. */
const messageLengthMax = 2048;

/** An operating error as the status with which a call ends. */
export function serviceErrorOf(
  error: OperatingError,
): Pick<ServiceError, 'code' | 'details' | 'metadata'> {
  const metadata = new Metadata();
  metadata.set(codeKey, error.code);
  metadata.set(hintKey, asciiJson(error.hint));
  const details = error.message.slice(0, messageLengthMax).toWellFormed();
  // oxlint-disable-next-line typescript/no-unsafe-enum-assignment -- the table's numbers are gRPC's
  const code: status = errorTable[error.code].grpc;
  return { code, details, metadata };
}

/** JSON in the characters that a header may carry. */
function asciiJson(value: object): string {
  return JSON.stringify(value).replace(
    /[^ -~]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/**
 * What the end of a call means. With a code of ours it is the error that the server has sent. All
 * others come from gRPC itself. `unary` calls that were lost under way may have been done.
 */
export function operatingErrorOf(error: ServiceError, unary: boolean): OperatingError {
  const [sent] = error.metadata?.get(codeKey) ?? [];
  if (sent !== undefined) {
    const code = Object.hasOwn(errorTable, String(sent)) ? (sent as ErrorCode) : 'INTERNAL';
    return new OperatingError(code, error.details, hintOf(error));
  }
  return new OperatingError(localCode(error, unary), `${error.details} (gRPC ${error.code})`);
}

// grpc-js tells by the text alone that a call has never left.
const neverLeft =
  /^(No connection established|Name resolution failed|Failed to start HTTP\/2 stream|Stream refused)/;

function localCode(error: ServiceError, unary: boolean): ErrorCode {
  if (neverLeft.test(error.details)) return 'UNAVAILABLE';
  switch (error.code) {
    case status.DEADLINE_EXCEEDED:
      return 'INDETERMINATE';
    case status.RESOURCE_EXHAUSTED:
      return error.details.includes('larger than') ? 'BATCH_TOO_LARGE' : 'RESOURCE_EXHAUSTED';
    case status.UNIMPLEMENTED:
      return 'UNSUPPORTED';
    case status.UNAUTHENTICATED:
    case status.PERMISSION_DENIED:
      return 'NOT_AUTHORIZED';
    // A connection that breaks shows as any of these, by chance.
    case status.UNAVAILABLE:
    case status.CANCELLED:
    case status.INTERNAL:
    case status.UNKNOWN:
      return unary ? 'INDETERMINATE' : 'UNAVAILABLE';
    default:
      return 'INTERNAL';
  }
}

function hintOf(error: ServiceError): ErrorHint {
  const [json] = error.metadata.get(hintKey);
  if (typeof json !== 'string') return {};
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return {}; // A hint that cannot be read is none.
  }
  if (typeof value !== 'object' || value === null) return {};
  const fields = value as Record<string, unknown>;
  return {
    ...(typeof fields['nodeId'] === 'string' && { nodeId: fields['nodeId'] }),
    ...(typeof fields['address'] === 'string' && { address: fields['address'] }),
    ...(typeof fields['epoch'] === 'number' && { epoch: fields['epoch'] }),
    ...(typeof fields['retryAfterMs'] === 'number' && { retryAfterMs: fields['retryAfterMs'] }),
    ...(typeof fields['earliestOffset'] === 'number' && {
      earliestOffset: fields['earliestOffset'],
    }),
  };
}
