import { type ErrorCode, OperatingError } from '@robustmq/core';
import { type ServiceError, status } from '@grpc/grpc-js';

// grpc-js tells by the text alone that a call has never left.
const neverLeft =
  /^(No connection established|Name resolution failed|Failed to start HTTP\/2 stream|Stream refused)/;

/**
 * What the end of a call to etcd means: UNAVAILABLE when it was not done, INDETERMINATE when nobody
 * knows. etcd's texts: https://github.com/etcd-io/etcd, api/v3rpc/rpctypes/error.go.
 */
export function etcdError(error: ServiceError, endpoint: string): OperatingError {
  const message = `etcd at ${endpoint}: ${error.details} (gRPC ${error.code})`;
  if (neverLeft.test(error.details)) return new OperatingError('UNAVAILABLE', message);
  if (error.details.includes('database space exceeded')) {
    const todo = 'compact and defragment it, then disarm its alarm, or raise --quota-backend-bytes';
    return new OperatingError('DISK_FULL', `${message}: ${todo}`);
  }
  return new OperatingError(codeOf(error.code), message);
}

function codeOf(code: status): ErrorCode {
  switch (code) {
    case status.UNAUTHENTICATED:
    case status.PERMISSION_DENIED:
      return 'NOT_AUTHORIZED';
    case status.INVALID_ARGUMENT:
    case status.FAILED_PRECONDITION:
      return 'INVALID_ARGUMENT';
    case status.NOT_FOUND:
      return 'NOT_FOUND';
    case status.OUT_OF_RANGE:
      return 'COMPACTED';
    case status.RESOURCE_EXHAUSTED:
      return 'RESOURCE_EXHAUSTED';
    case status.UNIMPLEMENTED:
      return 'UNSUPPORTED';
    default:
      return 'INDETERMINATE';
  }
}

/** What has ended a stream. */
export function streamError(thrown: unknown, endpoint: string): unknown {
  if (!(thrown instanceof Error) || thrown instanceof OperatingError) return thrown;
  if ('details' in thrown && 'code' in thrown) return etcdError(thrown as ServiceError, endpoint);
  return new OperatingError('UNAVAILABLE', `etcd at ${endpoint}: ${thrown.message}`);
}
