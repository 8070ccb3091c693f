import { decodeReservedHeader, isReservedHeaderAt, reservedHeaderAt } from '@robustmq/kernel';
import { RecordBatchWriter, RecordCursor } from '@robustmq/record-batch';

import type { PublishProperties, UserPropertyText } from '../codec/publish-encoder.ts';
import { isMqttText } from '../codec/utf8.ts';
import type { Qos } from '../codec/packet.ts';
import type { StoredHeader } from '../session/session-gateway.ts';

const qosNameBytes = 8;
const publisherNameBytes = 14;
const publisherBytes = 8;

const qosName = Buffer.from('mqtt.qos');
const publisherName = Buffer.from('mqtt.publisher');

/**
 * What a record says as an MQTT message, read from its headers. One object is used again and again;
 * ranges are positions in {@link RecordMessage.buffer}. The plain case (QoS and publisher only)
 * allocates nothing.
 */
export class RecordMessage {
  buffer: Buffer = Buffer.alloc(0);
  /** -1 when the record does not say: then the subscription's QoS holds. */
  qos: Qos | -1 = -1;
  retain = false;
  /** -1 when it was not published through MQTT. */
  publisherStart = -1;
  /** Interval after the append, ms; -1 when it never expires. */
  expiryMs = -1;
  valueStart = 0;
  valueEnd = 0;
  /** Properties for MQTT 5, without the expiry; undefined when there are none. */
  properties: PublishProperties | undefined;
  /** Headers that could not be told to MQTT clients, since the start. */
  headersLeftOut = 0;

  /** Reads the record on which the cursor stands. */
  read(cursor: RecordCursor): void {
    const { buffer } = cursor;
    this.buffer = buffer;
    this.qos = -1;
    this.retain = false;
    this.publisherStart = -1;
    this.expiryMs = -1;
    this.properties = undefined;
    // A null value reaches MQTT as an empty message.
    this.valueStart = cursor.valueStart < 0 ? 0 : cursor.valueStart;
    this.valueEnd = cursor.valueStart < 0 ? 0 : cursor.valueEnd;
    while (cursor.nextHeader()) {
      const start = cursor.headerNameStart;
      const end = cursor.headerNameEnd;
      const valueStart = cursor.headerValueStart;
      const valueEnd = cursor.headerValueEnd;
      if (end - start === qosNameBytes && isName(buffer, start, end, qosName)) {
        const value = valueEnd - valueStart === 1 ? (buffer[valueStart] ?? 3) : 3;
        if (value <= 2) this.qos = value as Qos;
      } else if (end - start === publisherNameBytes && isName(buffer, start, end, publisherName)) {
        if (valueEnd - valueStart === publisherBytes) this.publisherStart = valueStart;
      } else {
        this.#other(buffer, { start, end, valueStart, valueEnd });
      }
    }
  }

  /** Reads a message that is kept outside the log. */
  readStored(value: Buffer, headers: readonly StoredHeader[]): void {
    storedWriter.append(0, null, value, headers);
    storedCursor.reset(storedWriter.finish());
    storedCursor.next();
    this.read(storedCursor);
  }

  get value(): Buffer {
    return this.buffer.subarray(this.valueStart, this.valueEnd);
  }

  isFrom(publisher: Buffer): boolean {
    const start = this.publisherStart;
    return (
      start >= 0 &&
      this.buffer.compare(publisher, 0, publisher.length, start, start + publisherBytes) === 0
    );
  }

  #other(
    buffer: Buffer,
    header: { start: number; end: number; valueStart: number; valueEnd: number },
  ): void {
    const { start, end, valueStart, valueEnd } = header;
    const name = reservedHeaderAt(buffer, start, end);
    switch (name) {
      case undefined:
        if (!isReservedHeaderAt(buffer, start, end)) this.#user(buffer, header);
        return;
      case 'mqtt.retain':
        this.retain = decodeReservedHeader(name, buffer, valueStart, valueEnd) === 1;
        return;
      case 'message-expiry':
        this.expiryMs = decodeReservedHeader(name, buffer, valueStart, valueEnd) ?? -1;
        return;
      case 'mqtt.payload-format':
        this.ownProperties.payloadFormat = decodeReservedHeader(
          name,
          buffer,
          valueStart,
          valueEnd,
        ) as 0 | 1 | undefined;
        return;
      case 'content-type':
        this.ownProperties.contentType = this.#text(buffer, valueStart, valueEnd);
        return;
      case 'response-topic':
        this.ownProperties.responseTopic = this.#text(buffer, valueStart, valueEnd);
        return;
      case 'correlation-data':
        if (valueStart < 0 || valueEnd - valueStart > 0xffff) this.headersLeftOut++;
        else this.ownProperties.correlationData = buffer.subarray(valueStart, valueEnd);
        return;
      default:
    }
  }

  #user(
    buffer: Buffer,
    {
      start,
      end,
      valueStart,
      valueEnd,
    }: { start: number; end: number; valueStart: number; valueEnd: number },
  ): void {
    const value = valueStart < 0 ? Buffer.alloc(0) : this.#text(buffer, valueStart, valueEnd);
    const name = this.#text(buffer, start, end);
    if (name === undefined || value === undefined) return;
    (this.ownProperties.userProperties as UserPropertyText[]).push({ name, value });
  }

  /** Bytes that are legal MQTT text, or undefined and counted. [MQTT5-1.5.4-1] */
  #text(buffer: Buffer, start: number, end: number): Buffer | undefined {
    if (start >= 0 && end - start <= 0xffff && isMqttText(buffer, start, end)) {
      return buffer.subarray(start, end);
    }
    this.headersLeftOut++;
    return undefined;
  }

  /** The properties, made if there are none yet. */
  get ownProperties(): PublishProperties {
    this.properties ??= {
      payloadFormat: undefined,
      messageExpirySeconds: undefined,
      contentType: undefined,
      responseTopic: undefined,
      correlationData: undefined,
      userProperties: [],
    };
    return this.properties;
  }
}

function isName(buffer: Buffer, start: number, end: number, name: Buffer): boolean {
  return buffer[start] === 0x6d && name.compare(buffer, start, end) === 0;
}

const storedWriter = new RecordBatchWriter();
const storedCursor = new RecordCursor();
