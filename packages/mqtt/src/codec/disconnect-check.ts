import type { DecodeScratch } from './ack-decoder.ts';
import type { ProtocolVersion, UserProperty } from './packet.ts';
import { PropertyId } from './property.ts';
import { checkProperties } from './property-check.ts';
import { malformed, protocolError } from './protocol-fault.ts';
import { isClientReasonCode, ReasonCode } from './reason-code.ts';

const noUserProperties: readonly UserProperty[] = [];

/** Checks the body that the scratch's reader stands on. [MQTT5 section 3.14] */
export function checkDisconnect(
  scratch: DecodeScratch,
  version: ProtocolVersion,
): readonly UserProperty[] {
  const { reader } = scratch;
  if (reader.remaining === 0) return noUserProperties;
  if (version !== 5) {
    reader.fail(malformed('MQTT-3.14', `a DISCONNECT has ${reader.remaining} bytes, not 0`));
    return noUserProperties;
  }
  checkReasonCode(scratch, 'disconnect');
  // A remaining length below 2 leaves the properties out. [MQTT5 3.14.2.2.1]
  if (reader.remaining === 0) return noUserProperties;
  return checkTail(scratch, 'disconnect');
}

/** Checks the body that the scratch's reader stands on. [MQTT5 section 3.15] */
export function checkAuth(scratch: DecodeScratch): readonly UserProperty[] {
  const { reader, findings } = scratch;
  if (reader.remaining === 0) {
    reader.fail(protocolError('MQTT5-3.15.2-1', 'a client sends no Success in auth'));
    return noUserProperties;
  }
  checkReasonCode(scratch, 'auth');
  const userProperties = checkTail(scratch, 'auth');
  if (!findings.has(PropertyId.authenticationMethod)) {
    reader.fail(protocolError('MQTT5-3.15.2.2.2', 'an AUTH without Authentication Method'));
  }
  return userProperties;
}

function checkReasonCode({ reader }: DecodeScratch, carrier: 'disconnect' | 'auth'): void {
  const code: number = reader.byte('the reason code');
  if (reader.fault !== undefined || isClientReasonCode(carrier, code)) return;
  const clause = carrier === 'auth' ? 'MQTT5-3.15.2-1' : 'MQTT5-3.14.2-1';
  const allowed = code === ReasonCode.success ? 'Success' : `reason code ${code}`;
  reader.fail(protocolError(clause, `a client sends no ${allowed} in ${carrier}`));
}

function checkTail(
  { reader, findings, limits }: DecodeScratch,
  carrier: 'disconnect' | 'auth',
): readonly UserProperty[] {
  checkProperties(reader, carrier, findings, limits.userPropertiesMax);
  reader.finish(carrier);
  return findings.userProperties;
}
