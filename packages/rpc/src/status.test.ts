import { type ErrorCode, errorTable, OperatingError, segmentId } from '@robustmq/core';
import { describe, expect, it } from 'vitest';
import { Status } from './generated/robustmq/v1/common.ts';
import { segmentIdOfBytes, segmentIdToBytes } from './segment-id-bytes.ts';
import { errorOfStatus, refusalOf, toStatus } from './status.ts';

describe('status', () => {
  it('carries every code and the whole hint', () => {
    const hint = { nodeId: 'journal-1', epoch: 4, retryAfterMs: 10, earliestOffset: 99 };
    for (const code of Object.keys(errorTable) as ErrorCode[]) {
      const error = errorOfStatus(toStatus(new OperatingError(code, 'what was wrong', hint)));
      expect(error).toMatchObject({ code, message: 'what was wrong' });
      expect(error.hint).toEqual(hint);
    }
  });

  it('has no hint where none was given', () => {
    const error = errorOfStatus(toStatus(new OperatingError('CONFLICT', 'lost')));
    expect(error.hint).toEqual({});
  });

  it('keeps 0 as the earliest offset', () => {
    const hint = { earliestOffset: 0 };
    const error = new OperatingError('OFFSET_OUT_OF_RANGE', 'beyond the end', hint);
    expect(errorOfStatus(toStatus(error)).hint).toEqual(hint);
  });

  it('can be encoded whatever the error says', () => {
    const status = toStatus(new OperatingError('CONFLICT', 'a\ud800b', { retryAfterMs: 1.5 }));
    expect(Status.decode(Status.encode(status).finish())).toEqual(status);
    expect(status.retryAfterMs).toBe(2);
  });

  it('takes the code of a newer peer for INTERNAL', () => {
    expect(errorOfStatus(Status.fromPartial({ code: 9_999 })).code).toBe('INTERNAL');
  });

  it('is a refusal only with a code', () => {
    expect(refusalOf(undefined)).toBeUndefined();
    expect(refusalOf(Status.fromPartial({}))).toBeUndefined();
    expect(refusalOf(Status.fromPartial({ code: 15 }))?.code).toBe('UNAVAILABLE');
  });
});

describe('segment ids', () => {
  it('are 16 bytes on the wire', () => {
    const id = segmentId('00112233445566778899aabbccddeeff');
    expect(segmentIdToBytes(id).length).toBe(16);
    expect(segmentIdOfBytes(segmentIdToBytes(id))).toBe(id);
  });

  it.each([0, 15, 17])('are refused with %s bytes', (count) => {
    expect(() => segmentIdOfBytes(Buffer.alloc(count))).toThrow(`not ${count}`);
  });
});
