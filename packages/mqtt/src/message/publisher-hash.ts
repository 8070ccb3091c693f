import { createHash } from 'node:crypto';

/** Bytes of the `mqtt.publisher` header. */
const publisherHashBytes = 8;

/** Eight bytes that stand for a client id in records, for No Local across brokers. [MQTT5-3.8.3-3] */
export function publisherHash(clientId: string): Buffer {
  const digest = createHash('sha256').update(clientId).digest();
  return Buffer.from(digest.subarray(0, publisherHashBytes));
}
