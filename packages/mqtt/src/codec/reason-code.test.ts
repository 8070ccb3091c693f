import { type ErrorCode, errorTable } from '@robustmq/core';
import { describe, expect, it } from 'vitest';
import {
  ackReasonByError,
  connackReasonByError,
  connackReturnCodeOf,
  isClientReasonCode,
  ReasonCode,
  reasonCodesOf,
  reasonFor,
} from './reason-code.ts';

const errorCodes = Object.keys(errorTable) as ErrorCode[];

describe('reason codes', () => {
  it('every code has a packet that carries it [MQTT5 section 2.4]', () => {
    const carriers = [
      'connack',
      'puback',
      'pubrec',
      'pubrel',
      'pubcomp',
      'suback',
      'unsuback',
      'disconnect',
      'auth',
    ] as const;
    const carried = new Set(carriers.flatMap((carrier) => reasonCodesOf(carrier)));
    expect([...carried].sort((a, b) => a - b)).toEqual(
      Object.values(ReasonCode).sort((a, b) => a - b),
    );
  });

  it.each(errorCodes)(
    '[MQTT5-3.2.2-8, -3.4.2-1, -3.5.2-1, -3.9.3-2, -3.11.3-2] %s is answered with codes that the packets may carry',
    (code) => {
      for (const carrier of ['puback', 'pubrec', 'suback'] as const) {
        expect(reasonCodesOf(carrier)).toContain(ackReasonByError[code]);
      }
      const unsuback = reasonFor('unsuback', ackReasonByError[code]);
      expect(reasonCodesOf('unsuback')).toContain(unsuback);
      expect(reasonCodesOf('connack')).toContain(connackReasonByError[code]);
      expect(connackReturnCodeOf(connackReasonByError[code])).toBeGreaterThan(0);
    },
  );

  it('only a batch that is in the log is acknowledged as a success', () => {
    const successes = errorCodes.filter((code) => ackReasonByError[code] < 0x80);
    expect(successes).toEqual(['DUPLICATE_SEQUENCE']);
  });

  it('a client sends only its own codes [MQTT5-3.14.2-1, -3.15.2-1]', () => {
    expect(isClientReasonCode('disconnect', 0x04)).toBe(true);
    expect(isClientReasonCode('disconnect', 0x8e)).toBe(false);
    expect(isClientReasonCode('auth', 0x19)).toBe(true);
    expect(isClientReasonCode('auth', 0x00)).toBe(false);
    expect(isClientReasonCode('puback', 0x10)).toBe(true);
    expect(isClientReasonCode('puback', 0x11)).toBe(false);
  });

  it('[MQTT5-3.6.2-1, -3.7.2-1, -3.11.3-2] a code that a packet may not carry becomes one that it may', () => {
    expect(reasonFor('unsuback', ReasonCode.quotaExceeded)).toBe(ReasonCode.unspecifiedError);
    expect(reasonFor('pubcomp', ReasonCode.quotaExceeded)).toBe(0x92);
    expect(reasonFor('suback', ReasonCode.quotaExceeded)).toBe(ReasonCode.quotaExceeded);
  });

  it.each([
    [ReasonCode.success, 0],
    [ReasonCode.unsupportedProtocolVersion, 1],
    [ReasonCode.clientIdentifierNotValid, 2],
    [ReasonCode.serverUnavailable, 3],
    [ReasonCode.badUserNameOrPassword, 4],
    [ReasonCode.notAuthorized, 5],
  ])('reason %i is return code %i before MQTT 5 [MQTT section 3.2.2.3]', (reason, code) => {
    expect(connackReturnCodeOf(reason)).toBe(code);
  });
});
