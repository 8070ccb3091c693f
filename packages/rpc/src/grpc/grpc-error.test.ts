import { OperatingError } from '@robustmq/core';
import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { operatingErrorOf, serviceErrorOf } from './grpc-error.ts';

function fromGrpc(code: status, details: string, metadata = new Metadata()): ServiceError {
  return Object.assign(new Error(details), { code, details, metadata });
}

describe('errors of gRPC itself', () => {
  it.each([
    ['No connection established. Last error: ECONNREFUSED', status.UNAVAILABLE, 'UNAVAILABLE'],
    ['Name resolution failed for target dns:nowhere', status.UNAVAILABLE, 'UNAVAILABLE'],
    ['Stream refused by server', status.UNAVAILABLE, 'UNAVAILABLE'],
    ['Connection dropped', status.UNAVAILABLE, 'INDETERMINATE'],
    ['read ECONNRESET', status.UNAVAILABLE, 'INDETERMINATE'],
    ['Call cancelled', status.CANCELLED, 'INDETERMINATE'],
    ['Received RST_STREAM with code 2', status.INTERNAL, 'INDETERMINATE'],
    ['Deadline exceeded after 1.000s', status.DEADLINE_EXCEEDED, 'INDETERMINATE'],
    ['Received message larger than max (5 vs 4)', status.RESOURCE_EXHAUSTED, 'BATCH_TOO_LARGE'],
    ['Bandwidth exhausted', status.RESOURCE_EXHAUSTED, 'RESOURCE_EXHAUSTED'],
    ['no such method', status.UNIMPLEMENTED, 'UNSUPPORTED'],
    ['certificate without a role', status.PERMISSION_DENIED, 'NOT_AUTHORIZED'],
    ['who knows', status.DATA_LOSS, 'INTERNAL'],
  ])('a call that ends with "%s" (%i) is %s', (details, code, expected) => {
    const error = operatingErrorOf(fromGrpc(code, details), true);
    expect(error.code).toBe(expected);
    expect(error.message).toContain(details);
  });

  it('a stream that is lost is UNAVAILABLE: its messages are for their senders to judge', () => {
    const lost = fromGrpc(status.CANCELLED, 'Call cancelled');
    expect(operatingErrorOf(lost, false).code).toBe('UNAVAILABLE');
  });
});

describe('errors of ours', () => {
  it.each(['not json', '7', 'null', '{"nodeId":7,"epoch":"x"}'])(
    'with the hint %s have none',
    (hint) => {
      const metadata = new Metadata();
      metadata.set('robustmq-code', 'FENCED');
      metadata.set('robustmq-hint', hint);
      const error = operatingErrorOf(fromGrpc(status.FAILED_PRECONDITION, 'x', metadata), true);
      expect(error.code).toBe('FENCED');
      expect(error.hint).toEqual({});
    },
  );

  it.each(['NO_SUCH_CODE', 'toString'])('with the code %s are INTERNAL', (code) => {
    const metadata = new Metadata();
    metadata.set('robustmq-code', code);
    const error = operatingErrorOf(fromGrpc(status.FAILED_PRECONDITION, 'x', metadata), true);
    expect(error.code).toBe('INTERNAL');
  });

  it('travel under the status of the table', () => {
    expect(serviceErrorOf(new OperatingError('CONFLICT', 'x')).code).toBe(status.ABORTED);
  });
});
