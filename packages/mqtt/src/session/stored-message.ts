import type { MqttHeader, MqttMessage } from '@robustmq/rpc';
import type { StoredHeader, StoredMessage } from './session-gateway.ts';
import { ownBytes } from './encoded-message.ts';

export function headersToProto(headers: readonly StoredHeader[]): MqttHeader[] {
  return headers.map(({ name, value }) => ({ name, value: value ?? undefined }));
}

export function headersOfProto(headers: readonly MqttHeader[]): StoredHeader[] {
  return headers.map(({ name, value }) => ({ name, value: value ?? null }));
}

export function messageToProto({ topic, value, headers }: StoredMessage): MqttMessage {
  return { topic, value: value ?? undefined, headers: headersToProto(headers) };
}

/** The same message, sharing its memory with nothing. */
export function ownMessage({ topic, value, headers }: MqttMessage): MqttMessage {
  return {
    topic,
    value: value && ownBytes(value),
    headers: headers.map((header) => ({
      name: ownBytes(header.name),
      value: header.value && ownBytes(header.value),
    })),
  };
}

/** Bytes that a message takes, about. */
export function messageBytes({ topic, value, headers }: MqttMessage): number {
  let bytes = topic.length + (value?.length ?? 0);
  for (const header of headers) bytes += header.name.length + (header.value?.length ?? 0);
  return bytes;
}
