import type { DecodeScratch } from './ack-decoder.ts';
import type { ProtocolVersion, UserProperty } from './packet.ts';
import type { PacketReader } from './packet-reader.ts';
import { checkProperties } from './property-check.ts';
import { fault, malformed, protocolError, type ProtocolFault } from './protocol-fault.ts';
import { ReasonCode } from './reason-code.ts';
import {
  clauseOfProblem,
  explainTopicProblem,
  hasSharePrefix,
  topicFilterProblem,
  TopicProblem,
} from './topic.ts';

const noUserProperties: readonly UserProperty[] = [];

/** Checks the body that the scratch's reader stands on. [MQTT5 section 3.8, MQTT section 3.8] */
export function checkSubscribe(
  scratch: DecodeScratch,
  version: ProtocolVersion,
): readonly UserProperty[] {
  const { reader } = scratch;
  const userProperties = checkHead(scratch, version, 'subscribe');
  if (reader.remaining === 0) {
    reader.fail(protocolError('MQTT5-3.8.3-2', 'a SUBSCRIBE has no subscription'));
  }
  while (reader.remaining > 0) {
    checkFilter(scratch);
    const { valueStart, position } = reader;
    const options = reader.byte('the subscription options');
    if (reader.fault !== undefined) break;
    const shared = hasSharePrefix(reader.buffer, valueStart, position);
    const wrong = version === 5 ? optionsFault(options, shared) : requestedQosFault(options);
    if (wrong !== undefined) reader.fail(wrong);
  }
  return userProperties;
}

/** Checks the body that the scratch's reader stands on. [MQTT5 section 3.10, MQTT section 3.10] */
export function checkUnsubscribe(
  scratch: DecodeScratch,
  version: ProtocolVersion,
): readonly UserProperty[] {
  const { reader } = scratch;
  const userProperties = checkHead(scratch, version, 'unsubscribe');
  if (reader.remaining === 0) {
    reader.fail(protocolError('MQTT5-3.10.3-2', 'an UNSUBSCRIBE has no topic filter'));
  }
  while (reader.remaining > 0) checkFilter(scratch);
  return userProperties;
}

function checkHead(
  { reader, findings, limits }: DecodeScratch,
  version: ProtocolVersion,
  carrier: 'subscribe' | 'unsubscribe',
): readonly UserProperty[] {
  reader.packetId();
  if (version !== 5 || reader.fault !== undefined) return noUserProperties;
  checkProperties(reader, carrier, findings, limits.userPropertiesMax);
  return findings.userProperties;
}

function checkFilter({ reader, limits }: DecodeScratch): void {
  reader.text('a topic filter');
  if (reader.fault !== undefined) return;
  const { buffer, valueStart, position } = reader;
  const problem = topicFilterProblem(buffer, valueStart, position, limits.topicLevelsMax);
  if (problem !== TopicProblem.none) failFilter(reader, problem);
}

function failFilter(reader: PacketReader, problem: TopicProblem): void {
  const message = `the topic filter ${explainTopicProblem(problem)}`;
  reader.fail(fault(ReasonCode.topicFilterInvalid, clauseOfProblem(problem), message));
}

/** [MQTT5-3.8.3-4, -3.8.3-5] and section 3.8.3.1 */
function optionsFault(options: number, shared: boolean): ProtocolFault | undefined {
  if ((options & 0xc0) !== 0) {
    return malformed('MQTT5-3.8.3-5', `subscription options ${options} have reserved bits set`);
  }
  if ((options & 0x03) === 3) return protocolError('MQTT5-3.8.3.1', 'the maximum QoS is 3');
  if ((options & 0x30) === 0x30) return protocolError('MQTT5-3.8.3.1', 'retain handling is 3');
  if (shared && (options & 0x04) !== 0) {
    return protocolError('MQTT5-3.8.3-4', 'No Local on a shared subscription');
  }
  return undefined;
}

/** [MQTT-3.8.3-4] */
function requestedQosFault(options: number): ProtocolFault | undefined {
  if (options <= 2) return undefined;
  return malformed('MQTT-3.8.3-4', `the requested QoS is ${options}`);
}
