import { encodeReservedHeader, isReservedHeaderAt } from '@robustmq/kernel';
import { HeaderBlock } from '@robustmq/record-batch';

import type { PublishPacket, Qos, Will } from '../codec/packet.ts';
import { forEachUserProperty } from '../codec/publish-decoder.ts';
import type { StoredHeader } from '../session/session-gateway.ts';

const retainName = Buffer.from('mqtt.retain');
const qosName = Buffer.from('mqtt.qos');
const publisherName = Buffer.from('mqtt.publisher');
const payloadFormatName = Buffer.from('mqtt.payload-format');
const contentTypeName = Buffer.from('content-type');
const responseTopicName = Buffer.from('response-topic');
const correlationDataName = Buffer.from('correlation-data');
const messageExpiryName = Buffer.from('message-expiry');
const one = Buffer.from([1]);
const qosBytes = [Buffer.from([0]), Buffer.from([1]), Buffer.from([2])] as const;

/**
 * Headers of the records of one publisher. What is the same for all its plain messages is encoded
 * once per QoS and retain flag; a message with properties is encoded into a block that all
 * publishers share and that is good until the next call.
 */
export class HeaderEncoder {
  readonly #publisher: Buffer;
  readonly #plain: (HeaderBlock | undefined)[] = [];

  constructor(publisher: Buffer) {
    this.#publisher = publisher;
  }

  /** The headers of a publish. */
  encode(packet: PublishPacket): HeaderBlock {
    if (packet.propertiesStart === packet.propertiesEnd) {
      return this.#plainBlock(packet.qos, packet.retain);
    }
    shared.reset();
    addProperties(shared, packet);
    addConstant(shared, packet.qos, packet.retain, this.#publisher);
    return shared;
  }

  #plainBlock(qos: Qos, retain: boolean): HeaderBlock {
    const index = qos * 2 + (retain ? 1 : 0);
    let block = this.#plain[index];
    if (block === undefined) {
      block = new HeaderBlock();
      addConstant(block, qos, retain, this.#publisher);
      this.#plain[index] = block;
    }
    return block;
  }
}

const shared = new HeaderBlock();

/** Whether one of the user properties has a name that only brokers may write. */
export function hasReservedUserProperty(packet: PublishPacket): boolean {
  let found = false;
  forEachUserProperty(packet, (nameStart, nameEnd) => {
    found ||= isReservedHeaderAt(packet.buffer, nameStart, nameEnd);
  });
  return found;
}

/** The same for one name. */
export function hasReservedName(name: string): boolean {
  const bytes = Buffer.from(name);
  return isReservedHeaderAt(bytes, 0, bytes.length);
}

function addConstant(block: HeaderBlock, qos: Qos, retain: boolean, publisher: Buffer): void {
  block.add(qosName, qosBytes[qos]);
  if (retain) block.add(retainName, one);
  block.add(publisherName, publisher);
}

function addProperties(block: HeaderBlock, packet: PublishPacket): void {
  const { buffer } = packet;
  forEachUserProperty(packet, (nameStart, nameEnd, valueStart, valueEnd) => {
    block.add(buffer.subarray(nameStart, nameEnd), buffer.subarray(valueStart, valueEnd));
  });
  if (packet.payloadFormat >= 0) {
    block.add(payloadFormatName, Buffer.from([packet.payloadFormat]));
  }
  const range = (name: Buffer, start: number, end: number): void => {
    if (end > 0) block.add(name, buffer.subarray(start, end));
  };
  range(contentTypeName, packet.contentTypeStart, packet.contentTypeEnd);
  range(responseTopicName, packet.responseTopicStart, packet.responseTopicEnd);
  range(correlationDataName, packet.correlationDataStart, packet.correlationDataEnd);
  if (packet.messageExpiry >= 0) block.add(messageExpiryName, expiryBytes(packet.messageExpiry));
}

/** Headers of a QoS 2 publish that is stored first; the bytes are copies. */
export function storedHeadersOfPublish(packet: PublishPacket, publisher: Buffer): StoredHeader[] {
  const headers: StoredHeader[] = [];
  const { buffer } = packet;
  const add = (name: Buffer, start: number, end: number): void => {
    headers.push({ name, value: Buffer.from(buffer.subarray(start, end)) });
  };
  forEachUserProperty(packet, (nameStart, nameEnd, valueStart, valueEnd) => {
    add(Buffer.from(buffer.subarray(nameStart, nameEnd)), valueStart, valueEnd);
  });
  if (packet.payloadFormat >= 0) {
    headers.push({ name: payloadFormatName, value: Buffer.from([packet.payloadFormat]) });
  }
  if (packet.contentTypeEnd > 0)
    add(contentTypeName, packet.contentTypeStart, packet.contentTypeEnd);
  if (packet.responseTopicEnd > 0) {
    add(responseTopicName, packet.responseTopicStart, packet.responseTopicEnd);
  }
  if (packet.correlationDataEnd > 0) {
    add(correlationDataName, packet.correlationDataStart, packet.correlationDataEnd);
  }
  if (packet.messageExpiry >= 0) {
    headers.push({ name: messageExpiryName, value: expiryBytes(packet.messageExpiry) });
  }
  return [...headers, ...constantHeaders(packet.qos, packet.retain, publisher)];
}

/** Headers of a will. */
export function storedHeadersOfWill(will: Will, publisher: Buffer): StoredHeader[] {
  const headers: StoredHeader[] = will.userProperties.map(({ name, value }) => ({
    name: Buffer.from(name),
    value: Buffer.from(value),
  }));
  if (will.payloadFormat !== undefined) {
    headers.push({ name: payloadFormatName, value: Buffer.from([will.payloadFormat]) });
  }
  const text = (name: Buffer, value: string | undefined): void => {
    if (value !== undefined) headers.push({ name, value: Buffer.from(value) });
  };
  text(contentTypeName, will.contentType);
  text(responseTopicName, will.responseTopic);
  if (will.correlationData !== undefined) {
    headers.push({ name: correlationDataName, value: will.correlationData });
  }
  if (will.messageExpirySeconds !== undefined) {
    headers.push({ name: messageExpiryName, value: expiryBytes(will.messageExpirySeconds) });
  }
  return [...headers, ...constantHeaders(will.qos, will.retain, publisher)];
}

function constantHeaders(qos: Qos, retain: boolean, publisher: Buffer): StoredHeader[] {
  return [
    { name: qosName, value: qosBytes[qos] },
    ...(retain ? [{ name: retainName, value: one }] : []),
    { name: publisherName, value: publisher },
  ];
}

function expiryBytes(seconds: number): Buffer {
  return encodeReservedHeader('message-expiry', seconds * 1000);
}
